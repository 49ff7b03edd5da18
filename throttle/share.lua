-- Counts a consumer among those of its channel, and those that beat no longer
-- out of it. Moments are Redis's own, since they are compared across consumers.
--
-- KEYS[1]  ZSET of the channel's consumers: name → ms of the last beat
-- ARGV     the consumer's name; the ms without a beat after which one is gone;
--          the ms at which it joined, as an earlier beat answered it, or 0
-- Returns  how many consumers are live, this one among them; the ms at which it
--          joined; 1 when each other one has beaten since, and so counts it too

local name, lifetime, joined = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - lifetime))
if not redis.call('ZSCORE', KEYS[1], name) then joined = now end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), name)
redis.call('PEXPIRE', KEYS[1], lifetime * 10)

local settled, oldest = 1, redis.call('ZRANGE', KEYS[1], 0, 1, 'WITHSCORES')
for i = 1, #oldest, 2 do
  if oldest[i] ~= name and tonumber(oldest[i + 1]) <= joined then settled = 0 end
end
return {redis.call('ZCARD', KEYS[1]), joined, settled}
