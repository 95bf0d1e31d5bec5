"""Where the entries are in Spotify's JSON.

A page may be a paging object, a playlist object, a bare array of entries, an array of any of these, or
an object that holds them under `pages`. What an entry means is in `entries.py`.
"""

from values import equals, is_finite, is_object, is_text, load

DEPTH_MAX = 8
HOLDERS = ("pages", "items", "tracks")
MEMBERS = frozenset(HOLDERS) | {
    "item", "track", "error", "error_description", "offset", "total", "next", "id", "href", "name", "owner", "snapshot_id", "type",
}


class NoEntries(Exception):
    """A page is none of those above."""


def read(page):
    """The entries of a page: lists, each with the place of its first entry, counted from 0."""
    try:
        value = load(page)
    except ValueError as error:
        raise NoEntries(f"not JSON: {error}") from error
    found = []
    collect(value, 0, found)
    return found


def collect(value, depth, found):
    """Walks a container and what lies in it."""
    if depth > DEPTH_MAX:
        raise NoEntries(f"not a playlist: arrays and objects around the entries more than {DEPTH_MAX} levels deep")
    if isinstance(value, list):
        return collect_array(value, depth, found)
    if not is_readable(value) or not isinstance(value, dict):
        raise NoEntries("not a playlist: no array, and no object with members that can be read")
    if isinstance(value.get("pages"), list):
        for page in value["pages"]:
            collect(page, depth + 1, found)
        return None
    for paging in (value, value.get("items"), value.get("tracks")):
        if isinstance(paging, dict) and isinstance(paging.get("items"), list):
            return push_page(paging, found)
    raise NoEntries(without_entries(value))


def collect_array(elements, depth, found):
    """An array holds containers if its first object is one, entries otherwise."""
    first = next((element for element in elements if isinstance(element, dict) and is_readable(element)), None)
    if first is None or not is_container(first):
        found.append((0, elements))
        return
    for element in elements:
        if element is not None:
            collect(element, depth + 1, found)


def push_page(paging, found):
    entries = paging["items"]
    objects = [entry for entry in entries if isinstance(entry, dict) and is_readable(entry)]
    if objects and all(is_playlist(entry) and is_container(entry) for entry in objects):
        raise NoEntries(f"a page of playlists ({len(entries)} of them), not of a playlist's entries")
    found.append((place(paging.get("offset")), entries))


def place(offset):
    """An offset that positions can follow, which a playlist of any size has; 0 otherwise."""
    is_whole = type(offset) is int or type(offset) is float and offset.is_integer()
    return int(offset) if is_whole and 0 <= offset < 2**31 - 1 else 0


def is_readable(value):
    """Whether the Rust plugins can tell what it is: no object is, where one that counts in it is not."""
    if isinstance(value, dict):
        return is_object(value, MEMBERS) and all(is_readable(value.get(name)) for name in HOLDERS)
    return is_text(value) if isinstance(value, str) else is_finite(value)


def is_playlist(members):
    return equals(members.get("type"), "playlist") or has(members, "owner") and has(members, "snapshot_id")


def is_container(members):
    is_entry = has(members, "item") or has(members, "track")
    holds = any(has(members, name) for name in HOLDERS)
    return not is_entry and (holds or has(members, "error") or is_playlist(members))


def has(members, name):
    return members.get(name) is not None


def without_entries(members):
    if has(members, "error"):
        return "an error that Spotify answered with"
    if is_playlist(members) or has(members, "items") or has(members, "tracks"):
        return "a playlist object without its entries"
    return "not a playlist: an object with none of `pages`, `items`, `items.items`, `tracks.items`"
