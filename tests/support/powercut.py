"""
Puts a folder into a state that a power cut could have left, after a program that ran under
tests/support/powercut.c was killed. What was synced stays. Of the rest, without a seed nothing
stays; with one, any of it: of the names of each folder the first few, and of each file's writes any
512-byte sectors in any order, with any of the sizes that the file had.

	environment(library, folder, log)	for the program to run with; makes the log's folder
	cut(folder, log, seed=None)	undoes; returns (acts undone, acts kept), then a new log may begin

As a program: powercut.py FOLDER LOG [SEED].
"""
import os
import random
import shutil
import struct
import sys

SECTOR = 512
ENTRY = struct.Struct("<IIIIQQ")
WRITE, TRUNCATE, CREATE, RENAME, REMOVE, MKDIR, SYNC = range(1, 8)


def environment(library, folder, log):
    os.makedirs(log, exist_ok=True)
    before = os.environ.get("LD_PRELOAD")
    return dict(os.environ, LD_PRELOAD=f"{library}:{before}" if before else library,
                POWERCUT_FOLDER=folder, POWERCUT_LOG=log)


def entries(path):
    """(kind, saved, offset, size, first, second) of what a log holds since the last sync. An entry
    cut short is one of an act that never began."""
    with open(path, "rb") as file:
        data = file.read()
    acts, starts, at = [], [], 0
    while at + ENTRY.size <= len(data):
        kind, first, second, saved, offset, size = ENTRY.unpack_from(data, at)
        body = at + ENTRY.size
        end = body + first + second
        if end > len(data):
            break
        if kind == SYNC:
            old = sum(1 for start in starts if start < offset)
            acts, starts = acts[old:], starts[old:]
        else:
            acts.append((kind, saved, offset, size, data[body:body + first], data[body + first:end]))
            starts.append(at)
        at = end
    return acts


def undo_name(kind, saved, first, second):
    first, second = first.decode(), second.decode()
    if kind == RENAME:
        if os.path.exists(second) and not os.path.exists(first):  # else the kill came before it
            os.rename(second, first)
        if saved and not os.path.exists(second):
            os.link(saved, second)
    elif kind == REMOVE:
        if saved and not os.path.exists(first):
            os.link(saved, first)
    elif kind == CREATE:
        if os.path.lexists(first):
            os.unlink(first)
    elif kind == MKDIR and os.path.isdir(first):
        shutil.rmtree(first)


def undo_names(log, chance):
    undone = kept = 0
    for name in sorted(os.listdir(log)):
        if not name.startswith("names-"):
            continue
        acts = entries(os.path.join(log, name))
        keep = chance.randint(0, len(acts)) if chance else 0
        links = os.path.join(log, name.replace("names-", "saved-"))
        for kind, saved, _, _, first, second in reversed(acts[keep:]):
            undo_name(kind, os.path.join(links, str(saved)) if saved else None, first, second)
        undone, kept = undone + len(acts) - keep, kept + keep
    return undone, kept


def resize(image, size):
    if size < len(image):
        del image[size:]
    else:
        image.extend(bytes(size - len(image)))


def apply_act(image, act):
    kind, _, offset, _, _, after = act
    if kind == TRUNCATE:
        resize(image, offset)
    else:
        if len(image) < offset + len(after):
            resize(image, offset + len(after))
        image[offset:offset + len(after)] = after


def undo_act(image, act):
    kind, _, offset, size, before, _ = act
    if kind == TRUNCATE and len(image) < size:
        resize(image, size)
    image[offset:offset + len(before)] = before
    resize(image, size)


def sectors_of(act, size_now):
    kind, _, offset, size, _, after = act
    if kind == WRITE:
        # A write behind the end also brings the zeros between.
        return range(min(offset, size) // SECTOR, (offset + len(after) + SECTOR - 1) // SECTOR)
    return range(min(offset, size) // SECTOR, (max(offset, size_now) + SECTOR - 1) // SECTOR)


def mix(image, acts, chance):
    """The durable image with some sectors of some of the acts."""
    stand = {}  # sector -> the acts after which it is as it may stay; 0: before all
    running = bytearray(image)
    for number, act in enumerate(acts, 1):
        for sector in sectors_of(act, len(running)):
            stand.setdefault(sector, [0]).append(number)
        apply_act(running, act)
    chosen = {sector: chance.choice(numbers) for sector, numbers in stand.items()}
    wanted = {}
    for sector, number in chosen.items():
        wanted.setdefault(number, []).append(sector)
    taken, sizes = {}, [len(image)]
    running = bytearray(image)
    for number, act in enumerate(acts, 1):
        apply_act(running, act)
        sizes.append(len(running))
        for sector in wanted.get(number, []):
            taken[sector] = bytes(running[sector * SECTOR:(sector + 1) * SECTOR])
    resize(image, max(sizes))
    for sector, data in taken.items():
        image[sector * SECTOR:sector * SECTOR + len(data)] = data
    resize(image, chance.choice(sizes))
    return sum(1 for number in chosen.values() if number > 0)


def undo_contents(path, acts, chance):
    with open(path, "rb") as file:
        image = bytearray(file.read())
    for act in reversed(acts):
        undo_act(image, act)
    kept = 0
    if chance:
        how = chance.randint(0, 3)  # nothing and all of it are cuts too
        if how == 1:
            for act in acts:
                apply_act(image, act)
            kept = len(acts)
        elif how > 1:
            kept = mix(image, acts, chance)
    with open(path, "r+b") as file:
        file.write(image)
        file.truncate(len(image))
    return kept


def cut(folder, log, seed=None):
    chance = random.Random(seed) if seed is not None else None
    undone, kept = undo_names(log, chance)
    files = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            files[os.lstat(path).st_ino] = path
    for name in sorted(os.listdir(log)):
        path = files.get(int(name[7:])) if name.startswith("writes-") else None
        if not path:
            continue  # no name of it is left
        acts = entries(os.path.join(log, name))
        stay = undo_contents(path, acts, chance)
        undone, kept = undone + len(acts), kept + stay
    shutil.rmtree(log)
    os.makedirs(log)
    return undone, kept


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: powercut.py FOLDER LOG [SEED]")
    lost, stayed = cut(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) == 4 else None)
    print(f"{lost} acts undone, {stayed} kept")
