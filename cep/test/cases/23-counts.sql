-- Sentence 23: {m,n} takes up to n; a counted last step completes at m, with EMIT FINAL at n or when WITHIN ends; m = 0 may be left out.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE last_at_m AS SELECT a.v AS av, count(p) AS n, p.v AS l FROM PATTERN (EVERY a -> p=b{2,3}) WITHIN 10s PARTITION BY dev DO log();
CREATE RULE finally AS SELECT a.v AS av, count(p) AS n, p.v AS l FROM PATTERN (EVERY a -> p=b{2,3}) WITHIN 10s PARTITION BY dev EMIT FINAL DO log();
CREATE RULE optional AS SELECT a.v AS av, p.v AS pv, c.v AS cv FROM PATTERN (EVERY a -> p=b? -> c) WITHIN 10s PARTITION BY dev DO log();
CREATE RULE at_once AS SELECT a.v AS av, count(p) AS n FROM PATTERN (EVERY a -> p=b*) WITHIN 10s PARTITION BY dev DO log();
CREATE RULE middle AS SELECT a.v AS av, count(p) AS n, sum(p.v) AS s, c.v AS cv FROM PATTERN (EVERY a -> p=b+ -> c) WITHIN 10s PARTITION BY dev DO log();
