"""The table rules once more, in Python, from their description and not from the code.

Takes the fixtures and a few thousand documents made of them by chance (members taken away, made
null, or of another type; entries repeated; containers around containers) to tables with the command,
and compares songs, albums, artists, performers and the counts of skipped entries with what the rules
below say. The chance is seeded. Ends with 1 at a difference.
"""

import copy
import csv
import datetime
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

REASONS = ["no_payload", "episode", "other_type", "local_file", "no_id", "unreadable"]
ODD_VALUES = [None, "", "x", 0, 7, 2.5, True, [], {}, [None], ["x"], "0000", "1999-02", "Track", "EPISODE", "a\nb", 'say "x"']


class WrongType(Exception):
    """A field has a type that it should not have."""


def field(kinds):
    def read(holder, name):
        value = (holder or {}).get(name)
        if value is None:
            return None
        if isinstance(value, bool) and bool not in kinds or not isinstance(value, kinds):
            raise WrongType(name)
        return value

    return read


text, flag, thing, things = field((str,)), field((bool,)), field((dict,)), field((list,))


def integer(holder, name):
    value = field((int, float))(holder, name)
    if isinstance(value, float):
        if value != int(value):
            raise WrongType(name)
        value = int(value)
    if value is not None and not -(2**63) <= value < 2**63:
        raise WrongType(name)
    return value


def artists(holder):
    found = things(holder, "artists") or []
    for artist in found:
        if artist is not None and not isinstance(artist, dict):
            raise WrongType("artists")
    return [{"id": text(a, "id"), "name": text(a, "name"), "url": text(thing(a, "external_urls"), "spotify")} for a in found]


def release_date(value):
    match = re.fullmatch(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?", value or "", re.ASCII)
    try:
        return datetime.date(*(int(part or 1) for part in match.groups())).isoformat() if match else None
    except ValueError:
        return None


def containers(value):
    """The entries of a page, each list with the offset that is said beside it; a playlist object begins at 0."""
    if isinstance(value, list):
        first = next((element for element in value if isinstance(element, dict)), {})
        is_entry = first.get("item") is not None or first.get("track") is not None
        holds = any(first.get(name) is not None for name in ("pages", "items", "tracks"))
        if is_entry or not holds:
            yield value, None
            return
        for element in value:
            if element is not None:
                yield from containers(element)
        return
    if isinstance(value.get("pages"), list):
        for page in value["pages"]:
            yield from containers(page)
        return
    for paging in (value, value.get("items"), value.get("tracks")):
        if isinstance(paging, dict) and isinstance(paging.get("items"), list):
            offset = paging.get("offset")
            whole = isinstance(offset, (int, float)) and not isinstance(offset, bool) and offset == int(offset)
            is_playlist = isinstance(value.get("name"), str) or isinstance(value.get("snapshot_id"), str)
            yield paging["items"], int(offset) if whole and 0 <= offset < 2**31 - 1 else 0 if is_playlist else None
            return


def arranged(document):
    """Entries with their positions, in the order of the offsets; of overlapping pages each entry once."""
    placed, end = [], 0
    for entries, offset in containers(document):
        start = end if offset is None else offset
        end = start + len(entries)
        placed.append((start, entries))
    end = 0
    for start, entries in sorted(placed, key=lambda page: page[0]):
        for place, entry in enumerate(entries, start):
            if place >= end:
                yield place + 1, entry
        end = max(end, start + len(entries))


def judge(entry):
    """A reason, or a track."""
    entry = entry if isinstance(entry, dict) else {}
    payload = next((entry[name] for name in ("item", "track") if isinstance(entry.get(name), dict)), None)
    if payload is None:
        return "no_payload", None
    kind = payload.get("type")
    kind = kind.lower() if isinstance(kind, str) else kind
    if kind == "episode":
        return "episode", None
    if kind != "track" and not (kind is None and payload.get("artists") is not None):
        return "other_type", None
    if entry.get("is_local") is True or payload.get("is_local") is True:
        return "local_file", None
    if payload.get("id") in (None, ""):
        return "no_id", None
    try:
        return None, track(entry, payload)
    except WrongType:
        return "unreadable", None


def track(entry, payload):
    flag(entry, "is_local"), flag(payload, "is_local"), text(entry, "added_at"), text(payload, "type")
    album = thing(payload, "album")
    return {
        "song": [text(payload, "id"), text(payload, "name"), integer(payload, "duration_ms"), text(thing(payload, "external_urls"), "spotify"), integer(payload, "popularity")],
        "rest": [flag(payload, "explicit"), integer(payload, "disc_number"), integer(payload, "track_number"), text(thing(payload, "external_ids"), "isrc")],
        "artists": artists(payload),
        "album_artists": artists(album),
        "album": [text(album, "id"), text(album, "name"), release_date(text(album, "release_date")), integer(album, "total_tracks"), text(thing(album, "external_urls"), "spotify"), text(album, "release_date_precision"), text(album, "album_type")],
    }


def unique(rows, name_at):
    kept = {}
    for row in rows:
        if row[0] and (row[0] not in kept or (not kept[row[0]][name_at] and row[name_at])):
            kept[row[0]] = row
    return list(kept.values())


def tables(document):
    skips, tracks = [], []
    for position, entry in arranged(document):
        reason, found = judge(entry)
        skips.append((position, reason)) if reason else tracks.append((position, found))
    performers = {}
    for _, found in tracks:
        for place, artist in enumerate(found["artists"], 1):
            if artist["id"]:
                performers.setdefault((found["song"][0], place), [found["song"][0], artist["id"], place])
    everybody = [a for _, found in tracks for a in found["artists"] + found["album_artists"]]
    first = lambda found: (found["album_artists"] or [{"id": None}])[0]["id"]
    return {
        # `song_added` has tests of its own.
        "song": [found["song"] + [found["album"][0], first(found), position] + found["rest"] for position, found in tracks],
        "song_artist": list(performers.values()),
        "album": unique([found["album"] for _, found in tracks], 1),
        "artist": unique([[a["id"], a["name"], a["url"]] for a in everybody], 1),
    }, skips


def cell(value):
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else re.sub(r"\r\n|\r|\n|\x7f", " ", str(value))


def mutate(value, chance, depth=0):
    if isinstance(value, dict):
        members = {}
        for name, member in value.items():
            roll = chance.random()
            if depth > 1 and roll < 0.01:
                continue
            odd = depth > 1 and roll < 0.03
            members[name] = copy.deepcopy(chance.choice(ODD_VALUES)) if odd else mutate(member, chance, depth + 1)
        return members
    if isinstance(value, list):
        mutated = [mutate(element, chance, depth + 1) for element in value]
        if mutated and chance.random() < 0.1:
            mutated.insert(chance.randrange(len(mutated) + 1), chance.choice([None, 5, {}, copy.deepcopy(mutated[0])]))
        return mutated
    return value


def documents(fixtures, count, chance):
    originals = [json.loads(path.read_text("utf-8-sig")) for path in sorted(fixtures.glob("*.json")) if "spellings" not in path.name and "demo" not in path.name]
    yield from originals
    for _ in range(count):
        document = mutate(chance.choice(originals), chance)
        if isinstance(document, dict) and chance.random() < 0.2:
            other = mutate(chance.choice(originals), chance)
            document = chance.choice([[document], {"pages": [document, other]} if isinstance(other, dict) else [document]])
        yield document


def main(command, plugins, fixtures, count="2000"):
    chance, checked = random.Random(20260706), 0
    with tempfile.TemporaryDirectory() as desk:
        sources, store = pathlib.Path(desk, "in"), pathlib.Path(desk, "store")
        sources.mkdir()
        for number, document in enumerate(documents(pathlib.Path(fixtures), int(count), chance)):
            name = f"d{number}_2026-07-06T06-00-00.json"
            (sources / name).write_text(json.dumps(document), encoding="utf-8")
        subprocess.run([command, "init", "--store", store, "--from", plugins], check=True, stdout=subprocess.DEVNULL)
        run = [command, "run", "--store", store, "--from", sources, "--playlist", "p", "--allow-empty", "--json"]
        report = json.loads(subprocess.run(run, stdout=subprocess.PIPE, check=False).stdout)
        by_document = {document["document"]: document for document in everything(store, report, "documents")}
        imports = everything(store, report, "imports")
        for imported in imports:
            if imported["status"] == "landed":
                check(store, json.loads(pathlib.Path(imported["source"]).read_text("utf-8")), by_document[imported["document"]], imported["source"])
                checked += 1
    assert checked > len(imports) * 0.8, f"only {checked} of {len(imports)} were taken"
    print(f"{checked} documents give the tables and skips that the rules say")


def everything(store, report, what):
    """What a report lists, with what is on its pages."""
    listed = list(report[what])
    for page in report.get("pages", []):
        listed += json.loads((store / page["key"]).read_text("utf-8")).get(what, [])
    return listed


def check(store, document, found, source):
    assert found["status"] == "stored", f"{source}: {found['problems']}"
    expected, skips = tables(document)
    found_skips = [(skip["position"], skip["reason"]) for skip in found["skips"]]
    assert found_skips == skips, f"{source}: other skips\n{found_skips}\n{skips}\n{json.dumps(document)}"
    for file in found["tables"]:
        with open(store / file["key"], newline="", encoding="utf-8") as lines:
            header, *rows = csv.reader(lines)
        if file["table"] == "snapshot":
            counts = [len(skips) + len(expected["song"]), len(expected["song"])] + [sum(reason == skip for _, skip in skips) for reason in REASONS]
            assert rows[0][8:] == [str(count) for count in counts], f"{source}: other counts"
            continue
        if file["table"] == "song":
            added = header.index("song_added")
            rows = [row[:added] + row[added + 1 :] for row in rows]
        wanted = [[cell(value) for value in row] for row in expected[file["table"]]]
        assert [row[4:] for row in rows] == wanted, f"{source}: other rows in {file['table']}\n{rows}\n{wanted}"


main(*sys.argv[1:])
