"""What an entry of a playlist is, and why it may give no row.

An odd entry is passed over, with its reason, and the others are not.
"""

import containers
from values import equals, is_flag, is_integer, is_object, is_text

# What decides a reason in a track of which something else can't be read.
DECISIVE = frozenset({"type", "artists", "is_local", "id"})


def object_with(**members):
    """An object whose members are as these say, or null, or not there. It may have others."""
    names = frozenset(members)

    def check(value):
        if not is_object(value, names):
            return False
        for name, is_right in members.items():
            member = value.get(name)
            if member is not None and not is_right(member):
                return False
        return True

    return check


def array_of(is_right):
    def check(value):
        return isinstance(value, list) and all(element is None or is_right(element) for element in value)

    return check


URLS = object_with(spotify=is_text)
ARTIST = object_with(id=is_text, name=is_text, external_urls=URLS)
ALBUM = object_with(
    id=is_text, name=is_text, album_type=is_text, release_date=is_text, release_date_precision=is_text,
    total_tracks=is_integer, external_urls=URLS, artists=array_of(ARTIST),
)
# What all plugins look at, and not just this one, so that all count the same entries as tracks.
is_track = object_with(
    id=is_text, name=is_text, type=is_text, duration_ms=is_integer, popularity=is_integer, explicit=is_flag,
    disc_number=is_integer, track_number=is_integer, external_urls=URLS, external_ids=object_with(isrc=is_text),
    album=ALBUM, artists=array_of(ARTIST), is_local=is_flag,
)
# Whatever its payload is, and whatever the others are.
has_payload = object_with(item=lambda _: True, track=lambda _: True, added_at=lambda _: True, is_local=lambda _: True)
has_sound_rest = object_with(added_at=is_text, is_local=is_flag)


def judged(pages):
    """The tracks of all pages in order, and each entry passed over, as its place from 1 and the reason.

    A NoEntries if a page is not one of those that `containers` knows."""
    position, tracks, skips = 0, [], []
    for number, page in enumerate(pages, 1):
        try:
            lists = containers.read(page)
        except containers.NoEntries as error:
            raise containers.NoEntries(f"page {number}: {error}") from error
        for offset, entries in lists:
            for entry in entries:
                position = max(position, offset) + 1
                payload, reason = judge(entry)
                if reason is None:
                    tracks.append(payload)
                else:
                    skips.append((position, reason))
    return tracks, skips


def judge(entry):
    """What an entry holds, and the first reason that applies why it is no track, if there is one."""
    if not isinstance(entry, dict):
        return None, "no_payload"
    if not has_payload(entry):
        return None, "unreadable"
    payload = next((entry[name] for name in ("item", "track") if isinstance(entry.get(name), dict)), None)
    if payload is None:
        return None, "no_payload"
    if not is_object(payload, DECISIVE):
        return None, "unreadable"
    kind = payload.get("type")
    if equals(kind, "episode"):
        return None, "episode"
    if not (equals(kind, "track") if kind is not None else payload.get("artists") is not None):
        return None, "other_type"
    if entry.get("is_local") is True or payload.get("is_local") is True:
        return None, "local_file"
    if payload.get("id") in (None, ""):
        return None, "no_id"
    if not is_track(payload) or not has_sound_rest(entry):
        return None, "unreadable"
    return payload, None
