-- Makes a delivery that was collected the carrier of its digest.
-- KEYS[1]  the digest (list), which is closed
-- KEYS[2]  the same under its new carrier
-- KEYS[3]  the new carrier's notification's record
-- KEYS[4]  the former carrier's stream
-- ARGV[1]  the new carrier's place in the list; those before it have expired
-- ARGV[2]  the partition's tag
-- ARGV[3]  the former carrier's entry
-- ARGV[4]  record line
-- ARGV[5]  a record's beginning in case its own is gone
-- ARGV[6]  how long an open notification's record is kept, ms
-- Returns  1, or 0 when the former carrier has ended or has handed it on already.
if #redis.call('XRANGE', KEYS[4], ARGV[3], ARGV[3]) == 0 then return 0 end
local head, item = redis.call('LINDEX', KEYS[1], 0), redis.call('LINDEX', KEYS[1], ARGV[1])
if not item then return 0 end
local cut = string.find(item, '\n', 1, true)
redis.call('LTRIM', KEYS[1], ARGV[1] + 1, -1)
redis.call('LPUSH', KEYS[1], head)
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
redis.call('SET', KEYS[3], ARGV[5], 'NX')
redis.call('APPEND', KEYS[3], ARGV[4])
local open = (tonumber(redis.call('GETRANGE', KEYS[3], 0, 2)) or 0) + 1
redis.call('SETRANGE', KEYS[3], 0, string.format('%03d', open))
redis.call('PEXPIRE', KEYS[3], ARGV[6])
redis.call('XADD', ARGV[2] .. string.sub(item, 1, cut - 1), '*', 'd', string.sub(item, cut + 1))
return 1
