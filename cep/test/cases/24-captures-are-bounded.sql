-- Sentences 24, 47: elements beyond 64 are not kept: count, last and sums go on, a[i] is null.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE many AS SELECT count(p) AS n, p.v AS l, sum(p.v) AS s, p[63].v AS e63 FROM PATTERN (EVERY p=a{3,100} -> b) WITHIN 1h PARTITION BY dev DO log();
