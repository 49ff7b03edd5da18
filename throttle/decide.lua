-- Decides a batch of asks against the caps of their users, in order, each one
-- seeing those before it. An ask that may go, now or later, takes its place in
-- every one of its windows; any other takes none. The same id asked again gets
-- the place that it has.
--
-- KEYS     for each ask, for each of its rules: the ZSET of that user and rule
--          (delivery id → ms at which it goes)
-- ARGV     the number of rules, and for each: limit, window in ms, 1 when it
--          drops; then for each ask: delivery id, now in ms, the earliest ms at
--          which it could go, the ms at which it expires (0: never), how many
--          rules it has, and their numbers (from 1)
-- Returns  for each ask: 0 go, 1 wait, 2 drop, 3 expired; the ms at which it
--          goes or could have gone; the number of the rule that said so (0: none)

local SLACK  = 5000 -- ms by which callers' clocks may differ without a place being forgotten too early
local LOOK   = 256  -- places waiting in a window up to which gaps between them are looked for
local ROUNDS = 64   -- how often rules may push each other on before the ends of the windows decide

local function ms(t) return string.format('%.0f', t) end

-- What is known of one window. Of a window with room only the number of places
-- is read, of a full one the limit-th from the end and the last.
local function read(key, rule, number, id, now)
  local set = {key = key, rule = number, limit = rule.limit, window = rule.window, drops = rule.drops}
  set.count = redis.call('ZCARD', key)
  if set.count == 0 then return set end
  set.own = tonumber(redis.call('ZSCORE', key, id) or nil)
  if set.count >= set.limit then
    set.count = set.count - redis.call('ZREMRANGEBYSCORE', key, '-inf', ms(now - set.window - SLACK))
  end
  if set.count >= set.limit then
    set.nth = tonumber(redis.call('ZRANGE', key, -set.limit, -set.limit, 'WITHSCORES')[2])
    set.last = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
  end
  return set
end

-- The moments of a window's places, oldest first.
local function scores(set)
  if not set.scores then
    set.scores = {}
    local raw = redis.call('ZRANGE', set.key, 0, -1, 'WITHSCORES')
    for i = 2, #raw, 2 do set.scores[i / 2] = tonumber(raw[i]) end
  end
  return set.scores
end

-- The first moment from t on that no place of the window stands against: where
-- limit places lie within one window, nothing may go from a window before the
-- last of them to a window after the first. Behind the last place, and in a
-- line too long to search, only the limit-th from the end counts.
local function free(set, t)
  if not set.nth then return t end
  local window, span = set.window, set.limit - 1
  if t >= set.last or set.count > set.limit + LOOK then return math.max(t, set.nth + window) end
  local at = scores(set)
  for i = 1, #at - span do
    local first, last = at[i], at[i + span]
    if last - window >= t then break end
    if last - first < window and t < first + window then t = first + window end
  end
  return t
end

-- The first moment from t on that every waiting rule allows.
local function place(sets, t)
  for _ = 1, ROUNDS do
    local before = t
    for _, set in ipairs(sets) do
      if not set.drops then t = free(set, t) end
    end
    if t == before then return t end
  end
  for _, set in ipairs(sets) do
    if not set.drops and set.nth then t = math.max(t, set.nth + set.window) end
  end
  return t
end

-- The rule that made a delivery wait until t: the first whose window loses a
-- place at that very moment.
local function holder(sets, t)
  for _, set in ipairs(sets) do
    local gone = ms(t - set.window)
    if not set.drops and redis.call('ZCOUNT', set.key, gone, gone) > 0 then return set.rule end
  end
  return 0
end

-- The drop rule that has no room at t, 0 when all have.
local function full(sets, t)
  for _, set in ipairs(sets) do
    if set.drops and free(set, t) ~= t then return set.rule end
  end
  return 0
end

-- Takes the place at t in every window. A key lives until its last place has
-- left the window, which may be later than this one.
local function take(sets, id, t, now)
  for _, set in ipairs(sets) do
    redis.call('ZADD', set.key, ms(t), id)
    local life = ms(t + set.window + SLACK - now)
    if set.count == 0 then
      redis.call('PEXPIRE', set.key, life)
    else
      redis.call('PEXPIRE', set.key, life, 'GT')
    end
  end
end

local function decide(sets, id, now, from, expires)
  local t
  for _, set in ipairs(sets) do t = t or set.own end
  local own = t ~= nil
  if not own then
    local rule = full(sets, from)
    if rule > 0 then return 2, from, rule end
    t = place(sets, from)
  end
  local rule = t > from and holder(sets, t) or 0
  if own then return t > now and 1 or 0, t, rule end
  if expires > 0 and t >= expires then return 3, t, rule end
  if t > from then
    local dropped = full(sets, t)
    if dropped > 0 then return 2, t, dropped end
  end
  take(sets, id, t, now)
  return t > now and 1 or 0, t, rule
end

local arg = 1
local function word() arg = arg + 1; return ARGV[arg - 1] end
local function number() return tonumber(word()) end

local rules = {}
for i = 1, number() do
  rules[i] = {limit = number(), window = number(), drops = number() == 1}
  rules[i].life = ms(rules[i].window + SLACK)
end

-- The usual case, for which the rest is too much: every window has room, the
-- delivery may go at once, and it asks for the first time. False, with nothing
-- changed, when it is any other.
local function quick(first, numbers, id, now)
  local counts = {}
  for i, n in ipairs(numbers) do
    counts[i] = redis.call('ZCARD', KEYS[first + i])
    if counts[i] >= rules[n].limit then return false end
  end
  for i, n in ipairs(numbers) do
    local key = KEYS[first + i]
    -- A place is in every window or in none, so the first one tells.
    if redis.call('ZADD', key, 'NX', now, id) == 0 and i == 1 then return false end
    if counts[i] == 0 then
      redis.call('PEXPIRE', key, rules[n].life)
    else
      redis.call('PEXPIRE', key, rules[n].life, 'GT')
    end
  end
  return true
end

local answers, key = {}, 0
while arg <= #ARGV do
  local id, now, from, expires = word(), word(), word(), number()
  local numbers = {}
  for i = 1, number() do numbers[i] = number() end
  local action, t, rule = 0, tonumber(from), 0
  if now ~= from or expires > 0 and t >= expires or not quick(key, numbers, id, now) then
    local sets = {}
    for i, n in ipairs(numbers) do sets[i] = read(KEYS[key + i], rules[n], n, id, tonumber(now)) end
    action, t, rule = decide(sets, id, tonumber(now), tonumber(from), expires)
  end
  key = key + #numbers
  answers[#answers + 1] = action
  answers[#answers + 1] = t
  answers[#answers + 1] = rule
end
return answers
