"""One tree of errors: readable, picklable, honest about what can be tried again."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import PoolTimeout, TooManyRequests

from eventstore.store import errors
from eventstore.store.errors import ConfigurationError, EventStoreError, StoreError
from eventstore.store.translate import redact, translate

EXAMPLES: list[EventStoreError] = [
    errors.EventStoreError("something"),
    errors.ConfigurationError("url 'x' is malformed: write it so"),
    errors.StoreError("the database refused"),
    errors.StoreUnavailable("down"),
    errors.Conflict("deadlock"),
    errors.WrongExpectedVersion("a", 1, 2),
    errors.StreamExists("a", "no_stream", 2),
    errors.ExpectedStreamMissing("a"),
    errors.StreamNotFound("a"),
    errors.StreamDeleted("a"),
    errors.EventNotFound(UUID(int=1)),
    errors.DuplicateEvent(UUID(int=1)),
    errors.DuplicateEvent(None, "a"),
    errors.CannotAppendToAllStream(),
    errors.CannotDeleteAllStream(),
    errors.HardDeleteNotEnabled("a"),
    errors.StreamNameTooLong("x" * 5000, 5000, 2600),
    errors.SerializationFailed("E", "TypeError: no"),
    errors.SerializationFailed("Account", "TypeError: no", "snapshot"),
    errors.SnapshotNotFound("a"),
    errors.SnapshotUnreadable("a", "Account", "ValueError: no"),
    errors.DeserializationFailed(7, UUID(int=1), "E", "ValueError: no"),
    errors.DeserializationFailed(7, UUID(int=1), "E", "ValueError: no", "mend it"),
    errors.UpcastFailed("E", "the upcaster from version 1 raised KeyError: 'a'", "mend the upcaster"),
    errors.SubscriptionNotFound("$all", "s"),
    errors.SubscriptionAlreadyExists("$all", "s"),
    errors.TooManySubscribers("s", 1),
    errors.UnexpectedAck("s", 7),
    errors.SubscriptionHalted("$all", "s", 7, "mapper failed with KeyError: 'a'"),
    errors.WaitTimeout(5.0, tuple(("$all", f"s{number}", 5, 7) for number in range(5))),
    errors.SchemaMissing("public", "none of its tables exists"),
    errors.SchemaMismatch("public", "it is at version 1.2.0"),
    errors.OwnershipLost(1, 0, 7),
    errors.InvalidNotification("x,y"),
]


def tree(root: type[EventStoreError]) -> Iterator[type[EventStoreError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def test_there_is_an_example_of_every_error() -> None:
    assert {type(example) for example in EXAMPLES} == set(tree(EventStoreError))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_survives_pickling(error: EventStoreError) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(error, protocol))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_message_is_one_line(error: EventStoreError) -> None:
    assert str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 250


def test_what_can_be_tried_again() -> None:
    retryable = {type(error) for error in EXAMPLES if error.retryable}
    assert retryable == {errors.StoreUnavailable, errors.Conflict, errors.WaitTimeout}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (psycopg.errors.DeadlockDetected, errors.Conflict),
        (psycopg.errors.SerializationFailure, errors.Conflict),
        (psycopg.errors.LockNotAvailable, errors.Conflict),
        (psycopg.errors.UniqueViolation, errors.Conflict),
        (psycopg.errors.ForeignKeyViolation, errors.Conflict),
        (psycopg.errors.AdminShutdown, errors.StoreUnavailable),
        (psycopg.errors.CrashShutdown, errors.StoreUnavailable),
        (psycopg.errors.CannotConnectNow, errors.StoreUnavailable),
        (psycopg.errors.TooManyConnections, errors.StoreUnavailable),
        (psycopg.errors.DiskFull, errors.StoreUnavailable),
        (psycopg.errors.ConnectionFailure, errors.StoreUnavailable),
        (psycopg.errors.QueryCanceled, errors.StoreUnavailable),
        (psycopg.errors.ReadOnlySqlTransaction, errors.StoreUnavailable),
        (psycopg.errors.IdleInTransactionSessionTimeout, errors.StoreUnavailable),
        (psycopg.errors.InsufficientPrivilege, ConfigurationError),
        (psycopg.errors.InvalidPassword, ConfigurationError),
        (psycopg.errors.InvalidCatalogName, ConfigurationError),
        (psycopg.errors.UndefinedTable, errors.SchemaMissing),
        (psycopg.errors.InvalidSchemaName, errors.SchemaMissing),
        (psycopg.errors.UndefinedColumn, errors.SchemaMismatch),
        (psycopg.errors.UntranslatableCharacter, errors.SerializationFailed),
        (psycopg.errors.SyntaxError, StoreError),
        (psycopg.OperationalError, errors.StoreUnavailable),
        (psycopg.InterfaceError, errors.StoreUnavailable),
        (PoolTimeout, errors.StoreUnavailable),
        (TooManyRequests, errors.StoreUnavailable),
        (psycopg.DataError, StoreError),
    ],
)
def test_driver_errors_have_one_meaning(state: type[psycopg.Error], expected: type[EventStoreError]) -> None:
    translated = translate(state("what the database says"))
    assert type(translated) is expected
    assert "what the database says" in str(translated)


@pytest.mark.parametrize(
    "said",
    [
        'connection failed: FATAL:  password authentication failed for user "ann"',
        'connection failed: FATAL:  database "shop" does not exist',
        'connection failed: FATAL:  role "ann" does not exist',
    ],
)
def test_a_refused_login_is_the_urls_fault(said: str) -> None:
    assert type(translate(psycopg.OperationalError(said))) is ConfigurationError


def test_a_failure_to_connect_is_one_sentence() -> None:
    """As psycopg and libpq put it, on two lines."""
    at = 'connection failed: connection to server at "127.0.0.1", port 1 failed: '
    refused = f"{at}Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?"
    assert str(translate(psycopg.OperationalError(refused))) == (
        'the database is not available, connection to server at "127.0.0.1", port 1 failed: Connection refused: '
        "try again, or check that it is running"
    )
    lost = (
        "consuming input failed: server closed the connection unexpectedly\n\tThis probably means the server terminated"
    )
    assert str(
        translate(psycopg.OperationalError(f"{lost} abnormally\n\tbefore or while processing the request."))
    ) == (
        "the database is not available, server closed the connection unexpectedly: "
        "try again, or check that it is running"
    )
    missing = f'{at}FATAL:  database "shop" does not exist'
    assert str(translate(psycopg.OperationalError(missing))) == (
        'the database refused the connection, connection to server at "127.0.0.1", port 1 failed: FATAL: '
        'database "shop" does not exist: create it with `eventstore-runtime create`, or check the store\'s url'
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:s3cret@db:5432/shop", "postgresql://ann:***@db:5432/shop"),
        ("postgresql://ann:s3:cr@t@db/shop?x=1", "postgresql://ann:***@db/shop?x=1"),
        ("postgresql://:s3cret@db/shop", "postgresql://:***@db/shop"),
        ("postgresql://db/shop?user=ann&password=s3cret&a=b", "postgresql://db/shop?user=ann&password=***&a=b"),
        ("host=db password=s3cret user=ann", "host=db password=*** user=ann"),
        ("host=db password='s3 \\' cret' user=ann", "host=db password=*** user=ann"),
        ("PASSWORD = s3cret", "PASSWORD = ***"),
        ("postgresql://ann@db/shop", "postgresql://ann@db/shop"),
        ("embedded:./.eventstore", "embedded:./.eventstore"),
    ],
)
def test_redact(url: str, shown: str) -> None:
    assert redact(url) == shown
