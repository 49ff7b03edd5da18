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
--
-- Of what begins with r, a rate that was learned, the newest version holds: its
-- words begin with the version and the weight. Of what begins with f, what was
-- taken before a refusal, each consumer has a line, which begins with the
-- refusal's number, has three more numbers, and ends with the consumer's name.

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

-- The version and the weight of a rate that was learned.
local function rank(said)
  local version, weight = string.match(said, '^=?(%d+) (%d+) ')
  return tonumber(version or 0), tonumber(weight or 0)
end

-- Whether a rate is as new as what was said of it before.
local function current(said, before)
  local version, weight = rank(said)
  local other, heavy = rank(before)
  return version > other or version == other and weight >= heavy
end

-- What consumers took before the latest refusal, with one more line.
local function together(line, before)
  local number, who = string.match(line, '^(%d+) %d+ %d+ %d+ (.*)$')
  local out = {line}
  for other in string.gmatch(string.gsub(before, '^=', ''), '[^\n]+') do
    local n, name = string.match(other, '^(%d+) %d+ %d+ %d+ (.*)$')
    if n and tonumber(n) > tonumber(number or 0) then return nil end
    if n == number and name ~= who then out[#out + 1] = other end
  end
  return table.concat(out, '\n')
end

local function learned(what)
  local kind = string.sub(what, 1, 1)
  return kind == 'r' or kind == 'f'
end

-- What is to be kept of what is said; nothing, where newer words are known:
-- those are heard once more then.
local function kept(what, said)
  if not learned(what) then return said end
  local before = redis.call('HGET', words, what) or ''
  if string.sub(what, 1, 1) == 'f' then return together(said, before) end
  return current(said, before) and said or nil
end

-- What has ended stays for long enough to be heard of.
for _, what in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', whole(now - 10000), 'LIMIT', 0, 200)) do drop(what) end

-- Turns only ever rise, also when the clock is set back.
local last = redis.call('ZREVRANGE', turns, 0, 0, 'WITHSCORES')[2]
if last then us = math.max(us, tonumber(last) + 1) end

for i = 2, #ARGV, 3 do
  local what, ms = ARGV[i], tonumber(ARGV[i + 1])
  local known = tonumber(redis.call('ZSCORE', ends, what) or 0)
  local said = kept(what, ARGV[i + 2])
  if said and (ms == 0 or now + ms > known or learned(what)) then
    redis.call('ZADD', ends, whole(now + ms), what)
    redis.call('HSET', words, what, ms == 0 and 'over' or '=' .. said)
    redis.call('ZADD', turns, whole(us), what)
  elseif not said then
    redis.call('ZADD', turns, 'XX', whole(us), what)
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
