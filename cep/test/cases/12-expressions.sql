-- Sentence 12: null, division, precedence, LIKE, IN, BETWEEN.
CREATE STREAM s (a INT, b INT, x DOUBLE, t TEXT);
CREATE RULE calc AS SELECT a / b AS ratio, a % b AS rest, a + b * 2 AS sum, -a AS minus, abs(x) AS size, coalesce(x, 1.5) AS some, least(a, b) AS low, greatest(a, b) AS high, lower(t) AS small, upper(t) AS large FROM s DO log();
CREATE RULE unequal AS SELECT a FROM s WHERE x != 1 DO log();
CREATE RULE not_equal AS SELECT a FROM s WHERE NOT x = 1 DO log();
CREATE RULE likes AS SELECT t FROM s WHERE t LIKE 'a_c%' OR a IN (7, 8) AND b BETWEEN 2 AND 3 DO log();
