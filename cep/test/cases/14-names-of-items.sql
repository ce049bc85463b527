-- Sentence 14: AS may be left out; else the column without its qualifier; else the text without blanks.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE plain AS SELECT temp.dev, v  *  2, v * 3 AS three, v four FROM temp DO log();
