-- Sentence 9: TUMBLE and HOP carry the window's end, SESSION its end, SLIDE and ROWS the newest row's t. 10: those two are caused by their event.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE tumbling AS SELECT dev FROM temp GROUP BY dev WINDOW TUMBLE 2s DO log();
CREATE RULE sessions AS SELECT dev FROM temp GROUP BY dev WINDOW SESSION 3s DO log();
CREATE RULE sliding AS SELECT dev FROM temp GROUP BY dev WINDOW SLIDE 3s DO log();
CREATE RULE counted AS SELECT dev FROM temp GROUP BY dev WINDOW ROWS 2 DO log();
