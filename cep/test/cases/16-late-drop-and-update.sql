-- Sentence 16: a late drop prints nothing; late=backfill and update are marked.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE drops AS SELECT v FROM temp DO log();
CREATE RULE fills OPTIONS(late=backfill) AS SELECT v FROM temp DO log();
CREATE RULE updates OPTIONS(late=update) AS SELECT v FROM temp DO log();
