-- Twenty thousand customers, as an application may have them.
CREATE TABLE customer (id INTEGER PRIMARY KEY, email TEXT NOT NULL);

WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
INSERT INTO customer (id, email)
SELECT n, 'Customer.' || n || '@Example.com' FROM numbers;
