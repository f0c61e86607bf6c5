#!/usr/bin/env bash
# apsw 3.51.1.0 (SQLite 3.51.1): what a SELECT asks an authorizer.
#
# Guess: a plain SELECT asks SELECT, READ and FUNCTION, and no more; so an authorizer that allows these three lets through
# whatever only reads.
# Seen: of a table on its own that is so. The first SELECT that a connection makes on an R-tree asks INSERT and DELETE of
# the tables it is stored in too, even where the database is opened to be read only; a denial makes the query fail.
# So: an authorizer that is to keep queries from writing has to tell the preparation of a virtual table from a statement,
# or leave writes to `PRAGMA query_only`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check apsw==3.51.1.0
FOLDER=$folder "$folder/venv/bin/python" - <<'PY'
import os

import apsw

path = os.path.join(os.environ["FOLDER"], "a.db")
made = apsw.Connection(path)
made.execute("create table plain(a); create virtual table area using rtree(id, low, high); insert into area values (1, 0, 9)")
made.close()


def asked(query: str) -> set[str]:
    """The actions that a new connection is asked about."""
    names: set[str] = set()

    def authorizer(action: int, *about: object) -> int:
        names.add(str(apsw.mapping_authorizer_function[action]))
        return apsw.SQLITE_OK

    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    db.authorizer = authorizer
    db.execute(query).fetchall()
    return names


plain, area = asked("select a from plain"), asked("select id from area where low < 5")
print(apsw.sqlite_lib_version(), sorted(plain), sorted(area))
assert plain == {"SQLITE_SELECT", "SQLITE_READ"}, plain
assert {"SQLITE_INSERT", "SQLITE_DELETE"} <= area, area


def refused(action: int, *about: object) -> int:
    return apsw.SQLITE_DENY if action in (apsw.SQLITE_INSERT, apsw.SQLITE_DELETE) else apsw.SQLITE_OK


db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
db.authorizer = refused
try:
    db.execute("select id from area where low < 5").fetchall()
except apsw.Error as error:
    print("denied:", type(error).__name__, error)
else:
    raise SystemExit("the query ran although INSERT was denied")
PY
