-- Appends to a record what was said of one of its deliveries after it had gone out. The record keeps its life.
-- KEYS[1]  the record
-- ARGV[1]  how its delivery's own line begins: "P\t<ordinal>\t"
-- ARGV[2]  the line
-- ARGV[3]  the longest record that takes further lines, bytes
-- Returns  1; 0 when the record is gone, knows no such delivery or is full; 2 when it has the line already
local text = redis.call('GET', KEYS[1])
if not text or not string.find(text, '\n' .. ARGV[1], 1, true) then return 0 end
if string.find(text, '\n' .. ARGV[2], 1, true) then return 2 end
if #text + #ARGV[2] > tonumber(ARGV[3]) then return 0 end
redis.call('APPEND', KEYS[1], ARGV[2])
return 1
