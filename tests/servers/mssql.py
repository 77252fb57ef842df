"""A stand-in for Microsoft SQL Server: the protocol of pysqlbridge, with one of two things behind it.

    --tables CONFIG   pysqlbridge's own read-only engine over the tables that its configuration names
    --sqlite FILE     a writable database, by SQLite

pysqlbridge speaks TDS 7.4: pre-login, TLS inside of TDS packets, login with a name and a password, batches, calls of
`sp_executesql`, transactions. It demands TLS for the login at least.

What the SQLite engine is good for: writes with their row counts, transactions that really roll back, two sessions
that get in each other's way, and SQL Server's numbers for the usual errors (102, 207, 208, 515, 547, 1205, 2627, 2714,
3902, 3903). What it is not: SQL Server. It has no procedures, triggers, MERGE or FOR JSON; it knows the few words of
T-SQL in `translated`; its results are bigint, float, nvarchar or varbinary, whatever the column was declared as; it is
no authority on locking or on isolation levels.

A comment in the statement asks for a fault, after the statement has been performed:

    /* hang up */   the connection is cut before the answer
    /* garbage */   the answer is no valid token
    /* half */      the answer ends in the middle of a token, in a message that claims to be complete
"""

import argparse
import logging
import re
import sqlite3
import time

from pysqlbridge.catalog import load as load_tables
from pysqlbridge.certificate import load as load_certificate
from pysqlbridge.logins import Login, LoginStore
from pysqlbridge.server import BridgeServer
from pysqlbridge.tds.result import Column, Float, Integer, NVarChar, QueryError, VarBinary, col_metadata, row
from pysqlbridge.tds.token import DoneStatus, done

# By SQLite's name for the error, or by a part of its message: SQL Server's number and severity.
ERRORS_BY_NAME = {
    "SQLITE_CONSTRAINT_UNIQUE": (2627, 14),
    "SQLITE_CONSTRAINT_PRIMARYKEY": (2627, 14),
    "SQLITE_CONSTRAINT_NOTNULL": (515, 16),
    "SQLITE_CONSTRAINT_CHECK": (547, 16),
    "SQLITE_CONSTRAINT_FOREIGNKEY": (547, 16),
    "SQLITE_BUSY": (1205, 13),
}
ERRORS_BY_TEXT = {
    "no such table": (208, 16),
    "no such column": (207, 16),
    "syntax error": (102, 15),
    "incomplete input": (102, 15),
    "already exists": (2714, 16),
}
LONGEST_SIZED_TEXT = 4000


class HangUp(BaseException):
    """Ends the connection's thread, and with it the connection. No `except Exception` may stop it."""


class Answer:
    """The results of a batch: for each statement its rows, or how many rows it changed."""

    def __init__(self, results):
        self.results = results

    def encode(self, tds_version, server=""):
        tokens = b""
        for index, (columns, rows, count) in enumerate(self.results):
            status = DoneStatus.FINAL if index == len(self.results) - 1 else DoneStatus.MORE
            if count is not None:
                status |= DoneStatus.COUNT
            if columns:
                tokens += col_metadata(columns, tds_version) + b"".join(row(columns, values) for values in rows)
            tokens += done(status=status, row_count=count or 0, tds_version=tds_version)
        return tokens


class Faulty:
    """An answer that is spoiled on its way."""

    def __init__(self, answer, spoil):
        self.answer, self.spoil = answer, spoil

    def encode(self, tds_version, server=""):
        return self.spoil(self.answer.encode(tds_version, server))


class Engine:
    """Answers batches by SQLite. Each session has a connection of its own, which ends with it."""

    def __init__(self, path):
        self.path = path

    def answer(self, query):
        if query.procedure:
            raise QueryError(f"Could not find stored procedure '{query.procedure}'.", number=2812)
        database = query.session.get("database")
        if database is None:
            database = query.session["database"] = sqlite3.connect(self.path, isolation_level=None, timeout=1)
        faults = set(re.findall(r"/\* (hang up|garbage|half) \*/", query.sql))
        answer = Answer([self.perform(database, sql, query.parameters) for sql in statements(query.sql)])
        if "hang up" in faults:
            raise HangUp
        if "garbage" in faults:
            return Faulty(answer, lambda tokens: b"\x00\x01\x02\x03 nonsense")
        if "half" in faults:
            return Faulty(answer, lambda tokens: tokens[: len(tokens) // 2])
        return answer

    def perform(self, database, sql, parameters):
        delay = re.fullmatch(r"WAITFOR DELAY '(\d+):(\d+):(\d+)'", sql, re.IGNORECASE)
        if delay:
            hours, minutes, seconds = map(int, delay.groups())
            time.sleep(hours * 3600 + minutes * 60 + seconds)
            return None, [], None
        if re.match(r"SET\b", sql, re.IGNORECASE):
            return None, [], None
        try:
            return self.execute(database, translated(sql), parameters)
        except sqlite3.Error as error:
            raise as_server_error(error, database) from error

    @staticmethod
    def execute(database, sql, parameters):
        ends = re.match(r"(COMMIT|ROLLBACK)\b", sql, re.IGNORECASE)
        if ends and not database.in_transaction:
            word = ends[1].upper()
            number = 3902 if word == "COMMIT" else 3903
            raise QueryError(f"The {word} TRANSACTION request has no corresponding BEGIN TRANSACTION.", number=number)
        named = {name.lstrip("@"): value for name, value in parameters.items()}
        cursor = database.execute(sql, named)
        if cursor.description is None:
            return None, [], cursor.rowcount if cursor.rowcount >= 0 else None
        rows = [list(values) for values in cursor.fetchall()]
        names = [description[0] for description in cursor.description]
        columns = [Column(name, kind([values[at] for values in rows])) for at, name in enumerate(names)]
        return columns, rows, len(rows)


def kind(values):
    """The type of a column, from what stands in it."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int}:
        return Integer(8)
    if kinds <= {int, float}:
        return Float(8)
    if kinds == {bytes}:
        return VarBinary(8000)
    longest = max((len(value) for value in values if isinstance(value, str)), default=0)
    return NVarChar(None if longest > LONGEST_SIZED_TEXT else LONGEST_SIZED_TEXT)


def as_server_error(error, database):
    text = str(error)
    known = ERRORS_BY_NAME.get(getattr(error, "sqlite_errorname", ""))
    known = known or next((known for part, known in ERRORS_BY_TEXT.items() if part in text), (50000, 16))
    number, severity = known
    if number == 1205 and database.in_transaction:
        # The victim's transaction is over, as on SQL Server.
        database.execute("ROLLBACK")
    return QueryError(text, number=number, severity=severity)


def statements(batch):
    """The statements of a batch, which here must be separated by semicolons."""
    found, current, quoted = [], "", False
    for sign in re.sub(r"/\*.*?\*/", " ", batch, flags=re.DOTALL):
        quoted ^= sign == "'"
        if sign == ";" and not quoted:
            found.append(current)
            current = ""
        else:
            current += sign
    return [text.strip() for text in [*found, current] if text.strip()]


def translated(sql):
    """T-SQL in SQLite's words, as far as the tests need it."""
    for pattern, replacement in [
        (r"\bN'", "'"),
        (r"\bdbo\.", ""),
        (r"\[(\w+)\]", r'"\1"'),
        (r"\bint\s+IDENTITY\s*(\(\s*1\s*,\s*1\s*\))?\s+PRIMARY\s+KEY", "INTEGER PRIMARY KEY AUTOINCREMENT"),
        (r"\(\s*max\s*\)", ""),
        (r"\bLEN\(", "LENGTH("),
        (r"\bISNULL\(", "IFNULL("),
        (r"^BEGIN\s+TRAN(SACTION)?\b.*$", "BEGIN IMMEDIATE"),
        (r"^(COMMIT|ROLLBACK)(\s+TRAN(SACTION)?)?\b.*$", r"\1"),
    ]:
        sql = re.sub(pattern, replacement, sql, flags=re.IGNORECASE)
    top = re.match(r"SELECT\s+TOP\s*\(?(\d+)\)?\s+(.*)$", sql, re.IGNORECASE | re.DOTALL)
    if top:
        sql = f"SELECT {top[2]} LIMIT {top[1]}"
    output = re.match(r"(INSERT\b.*?)\bOUTPUT\s+(.*?)\s+(VALUES|SELECT)\b(.*)$", sql, re.IGNORECASE | re.DOTALL)
    if output:
        returned = re.sub(r"\binserted\.", "", output[2], flags=re.IGNORECASE)
        sql = f"{output[1]} {output[3]} {output[4]} RETURNING {returned}"
    return sql


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", required=True, help="PEM file")
    parser.add_argument("--key", required=True, help="PEM file")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    behind = parser.add_mutually_exclusive_group(required=True)
    behind.add_argument("--tables")
    behind.add_argument("--sqlite")
    options = parser.parse_args()

    logging.basicConfig(level=logging.INFO)
    if options.tables:
        tables = load_tables(options.tables)
        tables.warm()
        handler = tables.answer
    else:
        handler = Engine(options.sqlite).answer
    logins = LoginStore([Login(options.user, options.password, hashed=False)])
    certificate = load_certificate(options.certificate, options.key)
    server = BridgeServer("127.0.0.1", options.port, certificate, handler, "master", logins)
    server.serve_forever()


if __name__ == "__main__":
    main()
