-- Where a dead letter breaks the JSON Schema of its topic; both are null where no schema says it, and for those that were
-- kept before.
--
-- Upgrade: instant. Instances of the release before go on beside it, they name the columns that they write.
alter table ops.dead_letters
    add column pointer text,
    add column rule text,
    add constraint ck_dead_letters_rule check ((pointer is null) = (rule is null));

comment on column ops.dead_letters.pointer is 'JSON pointer to the value that breaks the schema; empty for the message itself';
comment on column ops.dead_letters.rule is 'The rule of the schema that does not hold, as keyword: value';
