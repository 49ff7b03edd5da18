-- Pins words of what a provider asked for where every consumer reads them.
-- Moments are Redis's own, since they are compared across consumers.
--
-- KEYS[1]  ZSET: what is paused → ms at which that ends
-- KEYS[2]  ZSET: the same → µs at which something was said of it last
-- KEYS[3]  HASH: the same → '=' and in whose words; 'over' when it was said to be
--          over, which the mere end of a pause does not say of what is down
-- ARGV     the most that are kept; then for each: what, for how many ms (0: no
--          longer), in whose words
-- Returns  nothing

local ends, turns, words = KEYS[1], KEYS[2], KEYS[3]
local most = tonumber(ARGV[1])
local time = redis.call('TIME')
local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(us / 1000)
local function whole(n) return string.format('%.0f', n) end

local function drop(what)
  redis.call('ZREM', ends, what)
  redis.call('ZREM', turns, what)
  redis.call('HDEL', words, what)
end

-- What has ended stays for long enough to be heard of.
for _, what in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', whole(now - 10000), 'LIMIT', 0, 200)) do drop(what) end

-- Turns only ever rise, also when the clock is set back.
local last = redis.call('ZREVRANGE', turns, 0, 0, 'WITHSCORES')[2]
if last then us = math.max(us, tonumber(last) + 1) end

for i = 2, #ARGV, 3 do
  local what, ms = ARGV[i], tonumber(ARGV[i + 1])
  local known = tonumber(redis.call('ZSCORE', ends, what) or 0)
  if ms == 0 or now + ms > known then
    redis.call('ZADD', ends, whole(now + ms), what)
    redis.call('ZADD', turns, whole(us), what)
    redis.call('HSET', words, what, ms == 0 and 'over' or '=' .. ARGV[i + 2])
  end
  us = us + 1
end

local over = redis.call('ZCARD', ends) - most
if over > 0 then
  for _, what in ipairs(redis.call('ZRANGE', ends, 0, over - 1)) do drop(what) end
end
local latest = redis.call('ZREVRANGE', ends, 0, 0, 'WITHSCORES')[2]
if latest then
  local life = math.max(tonumber(latest) - now, 0) + 60000
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, whole(life)) end
end
return redis.status_reply('OK')
