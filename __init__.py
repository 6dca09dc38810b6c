"""An event store on PostgreSQL and the runtime that runs its subscriptions."""
