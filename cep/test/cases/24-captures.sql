-- Sentence 24: a.f is the last element, a[i].f the i-th from 0, null if there is none; functions over the elements; filters see what was taken so far.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE all_of_them AS SELECT p.v AS l, p[last].v AS l2, p[0].v AS e0, p[2].v AS e2, count(p) AS n, first(p.v) AS f, last(p.v) AS la, sum(p.v) AS s, avg(p.v) AS m, min(p.v) AS low, max(p.v) AS high FROM PATTERN (EVERY p=a{1,3} -> b) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE rising AS SELECT p[0].v AS e0, p[1].v AS e1, p[2].v AS e2 FROM PATTERN (EVERY p=a[count(p) = 0 OR v > p.v]{3}) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE same AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY a -> b[v = a.v]) WITHIN 1h PARTITION BY dev DO log();
