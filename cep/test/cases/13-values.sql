-- Sentence 13: what is missing is null, INT is good for DOUBLE and not the reverse, a wrong type drops the event.
CREATE STREAM s (i INT, d DOUBLE, b BOOL, t TEXT);
CREATE RULE plain AS SELECT * FROM s DO log();
