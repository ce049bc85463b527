-- Sentence 11: keywords in any case, names as they are; ".." quotes a reserved name; '..' with '' inside; comments; durations with parts.
create stream "select" (Dev text, v double, "from" int); -- a stream called select; and this is no statement
Create Rule "Rule" priority -1 options(lateness=1.5s) As select Dev, "from", 'it''s' as said, v AS "Order" From "select" where Dev = 'a;b' do log();
CREATE RULE rule_two AS SELECT
  Dev,
  v -- the value
  AS max FROM "select" ALERT ON max > 1 FOR 1s DO log(), mqtt('x', 1, 2s);
