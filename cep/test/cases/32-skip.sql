-- Sentence 32: NO SKIP opens a run with every event that can begin; SKIP NEXT prints one match per first event; SKIP PAST LAST drops what began before the match's last event.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE none AS SELECT p[0].v AS f, b.v AS bv FROM PATTERN (p=a{2} -> EVERY b) WITHIN 1h NO SKIP PARTITION BY dev DO log();
CREATE RULE skip_next AS SELECT p[0].v AS f, b.v AS bv FROM PATTERN (p=a{2} -> EVERY b) WITHIN 1h SKIP NEXT PARTITION BY dev DO log();
CREATE RULE past_last AS SELECT p[0].v AS f, b.v AS bv FROM PATTERN (p=a{2} -> b) WITHIN 1h SKIP PAST LAST PARTITION BY dev DO log();
CREATE RULE burst AS SELECT count(f) AS n, s.v AS bv FROM PATTERN (EVERY f=a{3,20} -> s=b) WITHIN 10s SKIP PAST LAST PARTITION BY dev DO log();
CREATE RULE swallowed AS SELECT count(f) AS n, s.v AS bv FROM PATTERN (EVERY f=a{3,20} -> s=b) WITHIN 10s PARTITION BY dev DO log();
