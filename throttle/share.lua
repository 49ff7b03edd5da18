-- Counts a consumer among those of its channel, and those that beat no longer
-- out of it. Moments are Redis's own, since they are compared across consumers.
--
-- KEYS[1]  ZSET of the channel's consumers: name → ms of the last beat
-- KEYS[2]  ZSET of what they go by: name → ms of the last beat whose answer the
--          consumer has made its share of
-- ARGV     the consumer's name; the ms without a beat after which one is gone;
--          the ms at which it joined, and those of the last beat whose answer
--          it goes by, as earlier beats answered them, or 0
-- Returns  the ms of this beat; how many consumers are live, this one among
--          them; the ms at which it joined; 1 when every other one goes by an
--          answer that counts it

local beats, heard = KEYS[1], KEYS[2]
local name, life, joined, applied = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function ms(t) return string.format('%.0f', t) end

redis.call('ZREMRANGEBYSCORE', beats, '-inf', ms(now - life))
redis.call('ZREMRANGEBYSCORE', heard, '-inf', ms(now - 10 * life))
if not redis.call('ZSCORE', beats, name) then
  -- A new one has no share yet. One that was forgotten has: it goes by an
  -- answer that is older than anybody's joining.
  applied = joined == 0 and ms(now) or '0'
  joined = now
end
redis.call('ZADD', beats, ms(now), name)
redis.call('ZADD', heard, applied, name)
redis.call('PEXPIRE', beats, 10 * life)
redis.call('PEXPIRE', heard, 10 * life)

local live, settled = redis.call('ZRANGE', beats, 0, -1), 1
for _, other in ipairs(live) do
  local by = tonumber(redis.call('ZSCORE', heard, other) or 0)
  if other ~= name and by <= joined then settled = 0 end
end
return {now, #live, joined, settled}
