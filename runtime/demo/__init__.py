"""The demo: a git history as events, and the handlers that project it.

`git_history` reads commits, `events` turns them into events, `feed` appends those, `projection` holds the handlers,
`report` shows progress and the result; `bundled` is the history to use where there is no repository.
"""
