-- Sentence 43: ALERT works on each row behind window and HAVING.
CREATE STREAM span (svc TEXT, ms INT);
CREATE RULE slow AS SELECT svc, apdex(ms, 300) a FROM span GROUP BY svc WINDOW TUMBLE 10s ALERT ON a < 0.85 FOR 15s CLEAR a > 0.92 DO log();
