-- Sentence 38: nulls are skipped, sum of INT is INT, the spread is the population's, NaN spoils sum and not max.
CREATE STREAM s (i INT, d DOUBLE, t TEXT);
CREATE RULE w AS SELECT count(*), count(i), sum(i), avg(i), min(i), max(d), sum(d), stddev(i), first(t), last(t), min(t), distinct(i), changes(i), delta(i) FROM s WINDOW TUMBLE 10s DO log();
CREATE RULE nothing AS SELECT count(d), sum(d), avg(d), min(d), stddev(d), first(d), delta(d), p(0.5, d), rate(d) FROM s WHERE i = 7 WINDOW TUMBLE 10s DO log();
