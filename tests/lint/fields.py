"""Refuses the reuse of a protobuf field number.

fields.txt lists every field ever released: 'Message.number name type'. A field in the list must
still be what it was, or its number must be reserved; a field that is not in the list must be added
to it (--renew does), which a reviewer sees.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
RELEASED = ROOT / "tests/lint/fields.txt"
FIELD = re.compile(r"(?:repeated\s+)?([A-Za-z_][\w.]*)\s+(\w+)\s*=\s*(\d+)\s*;")
VALUE = re.compile(r"([A-Z][A-Z0-9_]*)\s*=\s*(\d+)\s*;")
RESERVED = re.compile(r"reserved\s+([^;]+);")


def read_messages():
    """All fields as {(message, number): (name, type)} and reserved numbers as {message: [(a, b)]}."""
    fields, reserved, problems = {}, {}, []
    for path in sorted((ROOT / "proto/msg").glob("*.proto")):
        text = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
        scope = []
        for token in re.finditer(r"(message|enum|oneof)\s+(\w+)\s*\{|\}|[^{};]+;", text):
            if token.group(1):
                scope.append((token.group(1), token.group(2)))
            elif token.group(0) == "}":
                scope.pop()
            elif scope:
                name = ".".join(n for kind, n in scope if kind != "oneof")
                statement = token.group(0).strip()
                kept = RESERVED.fullmatch(statement)
                if kept:
                    for part in kept.group(1).split(","):
                        first, _, last = part.strip().partition(" to ")
                        reserved.setdefault(name, []).append((int(first), int(last or first)))
                    continue
                match = (VALUE if scope[-1][0] == "enum" else FIELD).fullmatch(statement)
                if not match:
                    continue
                number = int(match.group(match.lastindex))
                what = match.group(1) + " " + (match.group(2) if scope[-1][0] != "enum" else "")
                if (name, number) in fields:
                    problems.append(f"{path.name}: {name}.{number} is given twice")
                for first, last in reserved.get(name, []):
                    if first <= number <= last:
                        problems.append(f"{path.name}: {name}.{number} is reserved")
                fields[(name, number)] = what.strip()
    return fields, reserved, problems


def main():
    fields, reserved, problems = read_messages()
    if "--renew" in sys.argv:
        known = dict(read_released())
        known.update({key: what for key, what in fields.items() if key not in known})
        RELEASED.write_text("".join(f"{m}.{n} {w}\n" for (m, n), w in sorted(known.items())),
                            encoding="utf-8")
        return 0
    released = dict(read_released())
    for key, what in released.items():
        kept = any(a <= key[1] <= b for a, b in reserved.get(key[0], []))
        if fields.get(key, what) != what:
            problems.append(f"{key[0]}.{key[1]} was '{what}' and is now '{fields[key]}'")
        elif key not in fields and not kept:
            problems.append(f"{key[0]}.{key[1]} ('{what}') is gone: reserve its number")
    for key in fields.keys() - released.keys():
        problems.append(f"{key[0]}.{key[1]} is new: run tests/lint/fields.py . --renew")
    print("\n".join(problems) if problems else f"{len(fields)} fields, none reused")
    return 1 if problems else 0


def read_released():
    if RELEASED.exists():
        for line in RELEASED.read_text(encoding="utf-8").splitlines():
            key, what = line.split(" ", 1)
            message, number = key.rsplit(".", 1)
            yield (message, int(number)), what


sys.exit(main())
