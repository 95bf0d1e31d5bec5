"""Playlists by the thousand, for benchmarks: the same bytes for the same numbers.

usage: documents.py FOLDER COUNT [--entries 100] [--markets]

Each file is a page of the Web API as it comes, some 220 KB with 100 entries, twice that with
`--markets` (`available_markets` as older answers have them). Among the tracks are episodes, entries without
a track, null fields, release dates of years and months, and names that need quoting.
"""

import argparse
import json
import pathlib
import random

TRACKS = 20_000
MARKETS = [a + b for a in "ABCDEFGHIJKLMNOP" for b in "AEIMNORSTUZ"] + ["US", "GB", "DE"]
WORDS = "Harbour Light Slow Summer Paper Ghost River Winter Glass Signal Velvet Echo North Golden Static".split()


def ids(numbers, count):
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return ["".join(numbers.choices(alphabet, k=22)) for _ in range(count)]


def thing(kind, id, **more):
    """What artists, albums and tracks have in common."""
    return {
        "external_urls": {"spotify": f"https://open.spotify.com/{kind}/{id}"},
        "href": f"https://api.spotify.com/v1/{kind}s/{id}", "id": id, "type": kind,
        "uri": f"spotify:{kind}:{id}", **more,
    }


def name(numbers):
    words = " ".join(numbers.choices(WORDS, k=numbers.randint(1, 4)))
    odd = numbers.random()
    return f'{words}, "live"' if odd < 0.02 else f"{words} – é\u2028" if odd < 0.03 else words


def tracks(numbers, markets):
    artists = [thing("artist", id, name=name(numbers)) for id in ids(numbers, TRACKS // 8)]
    made = []
    for number, (id, album_id) in enumerate(zip(ids(numbers, TRACKS), ids(numbers, TRACKS))):
        performers = numbers.sample(artists, k=numbers.choice([1, 1, 1, 2, 3]))
        year, month, day = numbers.randint(1961, 2026), numbers.randint(1, 12), numbers.randint(1, 28)
        precision = numbers.choices(["day", "month", "year"], [90, 4, 6])[0]
        date = {"day": f"{year}-{month:02}-{day:02}", "month": f"{year}-{month:02}", "year": f"{year}"}[precision]
        where = {"available_markets": MARKETS} if markets else {}
        album = thing(
            "album", album_id, album_type=numbers.choice(["album", "single", "compilation"]),
            artists=performers[:1], **where,
            images=[{"height": size, "url": f"https://i.scdn.co/image/ab67616d0000b273{number:024x}", "width": size}
                for size in (640, 300, 64)],
            name=name(numbers), release_date=date, release_date_precision=precision,
            total_tracks=numbers.randint(1, 30),
        )
        track = thing(
            "track", id, album=album, artists=performers, **where, disc_number=1,
            duration_ms=numbers.randint(60_000, 420_000), episode=False, explicit=numbers.random() < 0.2,
            external_ids={"isrc": f"FRX{number:09}"}, is_local=False,
            name=name(numbers), popularity=numbers.choice([None, *range(100)]), preview_url=None,
            track=True, track_number=numbers.randint(1, 20),
        )
        made.append(json.dumps(track, ensure_ascii=False, separators=(",", ":")))
    return made


def entry(numbers, track):
    day = f"2026-{numbers.randint(1, 12):02}-{numbers.randint(1, 28):02}"
    payload = numbers.choices([track, "null", '{"type":"episode","id":"2wE3rT4yU5iO6pA7sD8fG9","name":"News"}'], [97, 1, 2])[0]
    return (
        f'{{"added_at":"{day}T06:00:00Z","added_by":{{"external_urls":{{"spotify":"https://open.spotify.com/user/somebody"}},'
        '"href":"https://api.spotify.com/v1/users/somebody","id":"somebody","type":"user","uri":"spotify:user:somebody"},'
        f'"is_local":false,"primary_color":null,"item":{payload},"video_thumbnail":{{"url":null}}}}'
    )


def write(folder, count, entries, markets):
    numbers = random.Random(20260706)
    made = tracks(numbers, markets)
    playlists = ids(numbers, max(1, count // 200))
    folder.mkdir(parents=True, exist_ok=True)
    size = 0
    for number in range(count):
        id = playlists[number % len(playlists)]
        week = number // len(playlists)
        year, month, day = 2020 + week // 336, week % 336 // 28 + 1, week % 28 + 1
        chosen = ",".join(entry(numbers, numbers.choice(made)) for _ in range(entries))
        text = (
            f'{{"href":"https://api.spotify.com/v1/playlists/{id}/items?offset=0&limit={entries}","items":[{chosen}],'
            f'"limit":{entries},"next":null,"offset":0,"previous":null,"total":{entries}}}'
        )
        size += len(text.encode())
        file = folder / f"{id}_{year}-{month:02}-{day:02}_06-00-00.json"
        file.write_text(text)
    return size


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--entries", type=int, default=100)
    parser.add_argument("--markets", action="store_true")
    given = parser.parse_args()
    size = write(given.folder, given.count, given.entries, given.markets)
    print(f"{given.count} files, {size / 1e6:.0f} MB, {size / given.count / 1e3:.0f} KB each")
