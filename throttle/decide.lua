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

-- The places of one window, oldest first. A window with very many waiting is
-- not read: what comes next goes behind the last of them.
local function read(key, rule, id, now)
  local set = {key = key, limit = rule.limit, window = rule.window, drops = rule.drops}
  local most = rule.limit + LOOK
  local raw = redis.call('ZRANGE', key, 0, most, 'WITHSCORES')
  local stale = now - rule.window - SLACK
  if raw[2] and tonumber(raw[2]) <= stale then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', ms(stale))
    raw = redis.call('ZRANGE', key, 0, most, 'WITHSCORES')
  end
  local scores = {}
  for i = 1, #raw, 2 do
    local score = tonumber(raw[i + 1])
    if raw[i] == id then set.own = score end
    scores[#scores + 1] = score
  end
  set.scores = scores
  if #scores > most then
    set.long = true
    set.own = tonumber(redis.call('ZSCORE', key, id) or nil)
    set.nth = tonumber(redis.call('ZRANGE', key, -rule.limit, -rule.limit, 'WITHSCORES')[2])
    set.last = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
  else
    set.nth = scores[#scores - rule.limit + 1]
    set.last = scores[#scores]
  end
  return set
end

-- The first moment from t on that no place of the window stands against: where
-- limit places lie within one window, nothing may go from a window before the
-- last of them to a window after the first.
local function free(set, t)
  if not set.nth then return t end
  if set.long then return math.max(t, set.nth + set.window) end
  local scores, span, window = set.scores, set.limit - 1, set.window
  for i = 1, #scores - span do
    local first, last = scores[i], scores[i + span]
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

-- The rule that made a delivery wait until t: the one whose window loses a
-- place at that very moment.
local function holder(sets, t)
  for _, set in ipairs(sets) do
    local gone = t - set.window
    if set.long then
      if redis.call('ZCOUNT', set.key, ms(gone), ms(gone)) > 0 then return set.rule end
    else
      for _, score in ipairs(set.scores) do
        if score == gone and not set.drops then return set.rule end
      end
    end
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

local function take(sets, id, t, now)
  for _, set in ipairs(sets) do
    redis.call('ZADD', set.key, ms(t), id)
    local last = math.max(set.last or t, t)
    redis.call('PEXPIRE', set.key, ms(last + set.window + SLACK - now))
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
end

local answers, key = {}, 0
while arg <= #ARGV do
  local id, now, from, expires = word(), number(), number(), number()
  local sets = {}
  for i = 1, number() do
    local n = number()
    key = key + 1
    sets[i] = read(KEYS[key], rules[n], id, now)
    sets[i].rule = n
  end
  local action, t, rule = decide(sets, id, now, from, expires)
  answers[#answers + 1] = action
  answers[#answers + 1] = t
  answers[#answers + 1] = rule
end
return answers
