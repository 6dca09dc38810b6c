-- Creates the schema that will hold the tables. No binds.
create schema "{schema}"
