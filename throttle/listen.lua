-- Reads what was said since a consumer looked last, at most 1000 words at once.
--
-- KEYS[1]  ZSET: what is paused → ms at which that ends
-- KEYS[2]  ZSET: the same → µs at which something was said of it last
-- KEYS[3]  HASH: the same → '=' and in whose words, or 'over'
-- ARGV     the µs of the last word that is known; 0: none is
-- Returns  the µs of the last word that is told; then for each what it is
--          about, for how many ms more (1 or less: its time is up; 0: it was said to be over), in whose words

local since = tonumber(ARGV[1])
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
if not last then return {'0'} end
if tonumber(last) == since then return {ARGV[1]} end
if tonumber(last) < since then since = 0 end -- Redis lost what it had

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local turns = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', since), '+inf', 'WITHSCORES', 'LIMIT', 0, 1000)
local out = {string.format('%.0f', since)}
for i = 1, #turns, 2 do
  local what = turns[i]
  local said = redis.call('HGET', KEYS[3], what) or '='
  local left = math.max(tonumber(redis.call('ZSCORE', KEYS[1], what) or 0) - now, 1)
  if said == 'over' then left = 0 end
  out[1] = string.format('%.0f', tonumber(turns[i + 1]))
  out[#out + 1] = what
  out[#out + 1] = string.format('%.0f', left)
  out[#out + 1] = string.sub(said, 2)
end
return out
