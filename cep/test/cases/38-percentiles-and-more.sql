-- Sentence 38: p interpolates at rank q(n-1); apdex; ewma weighs with 1 - exp(-dt/tau).
CREATE STREAM span (svc TEXT, ms DOUBLE);
CREATE RULE w AS SELECT svc, p(0.5, ms), p(0.95, ms) AS p95, p(0, ms) AS low, p(1, ms) AS high, apdex(ms, 300) AS apdex, ewma(ms, 1s) AS smooth FROM span GROUP BY svc WINDOW TUMBLE 10s DO log();
