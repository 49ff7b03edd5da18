-- Keeps who works on the queue, by the server's own clock.
-- KEYS[1]  processes by the second that they were last heard of (zset)
-- ARGV[1]  the process to note, or '' for none
-- ARGV[2]  how long one counts that is not heard of, s
-- Returns  the names of those that count.
local now = tonumber(redis.call('TIME')[1])
if ARGV[1] ~= '' then
  redis.call('ZADD', KEYS[1], now, ARGV[1])
  redis.call('EXPIRE', KEYS[1], 2 * ARGV[2])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
return redis.call('ZRANGE', KEYS[1], 0, -1)
