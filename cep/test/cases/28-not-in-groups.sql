-- Sentence 28: a NOT without FOR that ends a group stands between its step and the one behind the group, or is the last of the pattern.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE plain AS SELECT x.v AS x, y.v AS y FROM PATTERN (EVERY x=a -> NOT b -> y=c) WITHIN 10s PARTITION BY dev DO log();
CREATE RULE grouped AS SELECT x.v AS x, y.v AS y FROM PATTERN ((EVERY x=a -> NOT b) -> y=c) WITHIN 10s PARTITION BY dev DO log();
CREATE RULE only AS SELECT x.v AS x, y.v AS y FROM PATTERN (EVERY x=a -> (NOT b) -> y=c) WITHIN 10s PARTITION BY dev DO log();
CREATE RULE ends AS SELECT x.v AS x, y.v AS y FROM PATTERN (EVERY x=a -> (y=c -> (NOT b))) WITHIN 10s PARTITION BY dev DO log();
