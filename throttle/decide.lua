-- Decides a batch of asks against the caps of their users, in order, each one
-- seeing those before it. An ask that may go, now or later, takes its place
-- under every one of its rules; any other takes none. The same id asked again
-- gets the place that it has. See places.lua for how places are kept.
--
-- KEYS     the string of each user's places; all of one slot
-- ARGV     'try' to write nothing, or anything else; the number of rules, and
--          for each: the first 8 bytes of its section, limit, window in ms, the
--          burst's limit and window (0: none), 1 when it drops, 2 when it
--          collects what may be; then for each run of asks that have the same
--          terms, and of which each is the next user's: the number of the first
--          one's key; their terms, as "1,2:NOW:WAIT" the numbers of the rules
--          (from 1), now in ms, and in how many ms they could go at the earliest,
--          with a c behind when they may be collected and an x when they have
--          expired; and for each ask, in one string, 5 bytes of its id's hash and
--          6 of the ms at which it expires (0: never)
-- Returns  for each ask that does not simply go at its earliest: its number
--          (from 1); 0 go, 1 wait, 2 drop, 3 expired, 4 collect; the ms at which
--          it goes or could have gone; the number of the rule that said so (0: none), and 1
--          when that was the rule's burst

local LOOK = 256  -- places waiting under a rule up to which gaps between them are looked for
local ROUNDS = 64 -- how often rules may push each other on before the ends of their lines decide

local GO, WAIT, DROP, EXPIRED, COLLECT = 0, 1, 2, 3, 4

-- The moments of a section's places, the earliest first.
local function moments(section)
  if not section.at then
    local at, places = {searched = {}}, whole(section)
    for i = 1, section.n do at[i] = moment(places, (i - 1) * PLACE + 1) end
    section.at = at
  end
  return section.at
end

-- The first moment from t on that no place of the section stands against:
-- where limit places lie within one window, nothing may go from a window
-- before the last of them to a window after the first. Behind the last place,
-- and in a line too long to search, only the limit-th from the end counts. A
-- search goes on where the last one for this window stood: what was too early
-- then is so for whatever comes later.
local function free(section, t, limit, window)
  local n = section.n
  if n < limit then return t end
  if t >= last(section) or n > section.rule.limit + LOOK then
    return math.max(t, nth(section, n - limit + 1) + window)
  end
  local at = moments(section)
  local search = at.searched[limit]
  local known = search and search.from <= t and search.window == window and search
  local i, goes = 1, t
  if known then i, goes = known.i, math.max(t, known.to) end
  while i <= n - limit + 1 do
    local first, final = at[i], at[i + limit - 1]
    if final - window >= goes then break end
    if final - first < window and goes < first + window then goes = first + window end
    i = i + 1
  end
  if not known then
    at.searched[limit] = {from = t, window = window, i = i, to = goes}
  elseif t <= known.to then
    known.i, known.to = i, goes
  end
  return goes
end

-- The first moment from t on that both windows of a section's rule allow, and
-- 1 when it was the burst that put it off last.
local function allowed(section, t)
  local rule, burst = section.rule, 0
  local after = free(section, t, rule.limit, rule.window)
  while rule.bursts > 0 do
    t = free(section, after, rule.bursts, rule.within)
    if t == after then break end
    after = free(section, t, rule.limit, rule.window)
    burst = after == t and 1 or 0
  end
  return after, burst
end

-- The rule of a kind, 'drops' or 'collects', that has no room at t, and 1 when
-- only its burst has none; nil when all have room.
local function full(sections, t, kind)
  for _, section in ipairs(sections) do
    local rule = section.rule
    if rule[kind] and section.n > 0 then
      if free(section, t, rule.limit, rule.window) ~= t then return rule.number, 0 end
      if rule.bursts > 0 and free(section, t, rule.bursts, rule.within) ~= t then return rule.number, 1 end
    end
  end
end

-- The moment from which on a section has room, whatever lies before.
local function behind(section)
  local rule, n, t = section.rule, section.n, 0
  if n >= rule.limit then t = nth(section, n - rule.limit + 1) + rule.window end
  if rule.bursts > 0 and n >= rule.bursts then t = math.max(t, nth(section, n - rule.bursts + 1) + rule.within) end
  return t
end

-- The first moment from t on that every waiting rule allows, and the rule that
-- put it off last: the one that frees a place then. Rules that collect put
-- nothing off that may be collected.
local function place(sections, t, collect)
  local number, burst = 0, 0
  for _ = 1, ROUNDS do
    local before = t
    for _, section in ipairs(sections) do
      if not section.rule.drops and not (collect and section.rule.collects) and section.n > 0 then
        local after, by = allowed(section, t)
        if after ~= t then t, number, burst = after, section.rule.number, by end
      end
    end
    if t == before then return t, number, burst end
  end
  for _, section in ipairs(sections) do
    if not section.rule.drops and not (collect and section.rule.collects) then t = math.max(t, behind(section)) end
  end
  return t, number, burst
end

-- Whether a place of the section lies at t.
local function at(section, t)
  local wanted, places = pack(t), whole(section)
  local i = find(places, wanted, 1, true)
  while i and i % PLACE ~= 1 do i = find(places, wanted, i + 1, true) end
  return i ~= nil
end

-- The rule for which a delivery waits until t: the first whose window loses a
-- place at that very moment.
local function holder(sections, t)
  for _, section in ipairs(sections) do
    local rule = section.rule
    if not rule.drops then
      if at(section, t - rule.window) then return rule.number, 0 end
      if rule.bursts > 0 and at(section, t - rule.within) then return rule.number, 1 end
    end
  end
  return 0, 0
end

-- Takes the place at t under one rule.
local function take(section, id, t)
  if section.n == 0 or t >= last(section) then
    append(section, t, id)
    if section.at then section.at[section.n] = t end
  else
    local i, places = section.n, whole(section)
    while i > 0 and nth(section, i) > t do i = i - 1 end
    section.places = sub(places, 1, i * PLACE) .. pack(t) .. id .. sub(places, i * PLACE + 1)
    section.n, section.at = section.n + 1, false
  end
  if section.n > KEEP then forget(section, section.n - KEEP) end
end

-- How many of the n places from byte i on count no more.
local function stale(raw, i, n, horizon)
  local old = 0
  while old < n and moment(raw, i + old * PLACE) <= horizon do old = old + 1 end
  return old
end

-- Forgets what counts no more of a section that is full, or all of which does.
local function clean(user, section, now)
  local horizon = now - section.rule.life
  if nth(section, 1) <= horizon then
    forget(section, stale(whole(section), 1, section.n, horizon))
    user.changed = now
  end
end

-- The sections of a user under some rules, made where there are none yet.
local function sectionsOf(user, rules, now)
  local sections = {}
  for i, rule in ipairs(rules) do
    local section = user[rule.id]
    if not section then
      section = {head = rule.head, window = rule.window, n = 0, places = '', first = 0, added = false, rule = rule, last = false, at = false}
      user[#user + 1], user[rule.id] = section, section
    end
    section.rule, section.head, section.window = rule, rule.head, rule.window
    if section.n > 0 and (section.n >= rule.limit or last(section) <= now - rule.life) then clean(user, section, now) end
    sections[i] = section
  end
  return sections
end

-- The moment of the place that a delivery has, nil for none.
local function own(sections, id)
  for _, section in ipairs(sections) do
    local t = section.n > 0 and held(section, id)
    if t then return t end
  end
end

-- What a rule does that has no room at t and does not put off, its number, and 1
-- when that is its burst's; nil when there is none.
local function refused(sections, t, collect)
  local rule, burst = full(sections, t, 'drops')
  if rule then return DROP, rule, burst end
  if not collect then return nil end
  rule, burst = full(sections, t, 'collects')
  if rule then return COLLECT, rule, burst end
end

local function decide(user, rules, id, now, from, expires)
  local sections = sectionsOf(user, rules, now)
  local t = own(sections, id)
  if t and t <= from then return t > now and WAIT or GO, t, 0, 0 end
  if t then return WAIT, t, holder(sections, t) end
  local action, rule, burst = refused(sections, from, rules.collect)
  if action then return action, from, rule, burst end
  t, rule, burst = place(sections, from, rules.collect)
  if expires > 0 and t >= expires then return EXPIRED, t, rule, burst end
  if t > from then
    local refusal, by, bursting = refused(sections, t, rules.collect)
    if refusal then return refusal, t, by, bursting end
  end
  for _, section in ipairs(sections) do take(section, id, t) end
  user.changed = now
  return t > now and WAIT or GO, t, rule, burst
end

local arg = 0
local function word() arg = arg + 1; return ARGV[arg] end
local function number() return tonumber(word()) end

local trying = word() == 'try'
local rules = {}
for i = 1, number() do
  local head = word()
  local rule = {number = i, head = head, id = sub(head, 1, 4), limit = number(), window = number(), bursts = number(), within = number()}
  local full = number()
  rule.drops, rule.collects = full == 1, full == 2
  rule.life = rule.window + SLACK
  rules[i] = rule
end

-- What some asks' terms say: a list of their rules, each also under its id, of
-- the times, and how the section of each begins for a user who has none.
local known = {}
local function termsOf(text)
  if known[text] then return known[text] end
  local numbers, now, wait, flags = string.match(text, '^([%d,]*):(%d+):(%d+)(c?x?)$')
  local terms = {now = tonumber(now), life = 0, by = {}, starts = {}}
  terms.from, terms.packed = terms.now + tonumber(wait), pack(terms.now)
  terms.collect, terms.expired = find(flags, 'c', 1, true), find(flags, 'x', 1, true)
  for i in string.gmatch(numbers, '%d+') do
    local rule, n = rules[tonumber(i)], #terms + 1
    terms[n], terms.by[rule.id], terms.starts[n] = rule, rule, rule.head .. '\0\1' .. terms.packed
    terms.life = math.max(terms.life, rule.life)
  end
  known[text] = terms
  return terms
end

-- Pieces of the string that is being put together, and two bytes for each number.
local pieces, counts = {}, {}
local function count(n)
  local n0 = n % 256
  counts[n] = char((n - n0) / 256, n0)
  return counts[n]
end

-- A user's string with one place under every rule of the terms, for a user who
-- has none.
local function fresh(terms, id)
  local n = 0
  for i = 1, #terms do
    pieces[n + 1], pieces[n + 2] = terms.starts[i], id
    n = n + 2
  end
  return concat(pieces, '', 1, n), terms.life
end

-- For how many ms after now the section from byte i to past is kept.
local function remains(raw, i, past, now)
  local w3, w2, w1, w0 = byte(raw, i + 4, i + 7)
  return moment(raw, past - PLACE) + ((w3 * 256 + w2) * 256 + w1) * 256 + w0 + SLACK - now
end

-- From which byte on the n places before past are kept with one more behind
-- them, at now, and how many these are; nil when more than their count and
-- ends must be looked at to know that the rule has room.
local function room(raw, n, past, rule, now)
  local from, a, b, c, d, e = past - n * PLACE, byte(raw, past - PLACE, past - 6)
  local final = EPOCH + (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e
  if final > now then return nil end
  if n >= rule.limit or final <= now - rule.life then
    local old = stale(raw, from, n, now - rule.life)
    n, from = n - old, from + old * PLACE
    if n >= rule.limit then return nil end
  end
  if rule.bursts > 0 and n >= rule.bursts and moment(raw, past - rule.bursts * PLACE) + rule.within > now then return nil end
  return from, n + 1
end

-- The usual case, for which the rest is too much: every rule has room, and the
-- delivery goes at once, behind every place that there is. Returns the user's
-- string with the places that it takes, and for how many ms it is kept; nil,
-- with nothing changed, when the case is any other.
local function quick(raw, terms, id)
  if raw == '' then return fresh(terms, id) end
  if find(raw, id, 1, true) then return nil end
  local now, life, by, entry = terms.now, terms.life, terms.by, terms.packed .. id
  local i, n, seen, size = 1, 0, 0, #raw
  while i < size do
    local n1, n0 = byte(raw, i + 8, i + 9)
    if not n0 then return nil end
    local places = n1 * 256 + n0
    local past, rule = i + HEAD + places * PLACE, by[sub(raw, i, i + 3)]
    if places == 0 or past > size + 1 then return nil end
    if rule then
      local from, more = room(raw, places, past, rule, now)
      if not from then return nil end
      pieces[n + 1], pieces[n + 2], pieces[n + 3], pieces[n + 4] = rule.head, counts[more] or count(more), sub(raw, from, past - 1), entry
      n, seen = n + 4, seen + 1
    else
      local left = remains(raw, i, past, now)
      if left > 0 then
        pieces[n + 1], n = sub(raw, i, past - 1), n + 1
        if left > life then life = left end
      end
    end
    i = past
  end
  if seen == #terms then return concat(pieces, '', 1, n), life end
end

-- The users of the batch, by the numbers of their keys: raws are their strings,
-- users what is open of them, lives for how many ms those that are changed are
-- kept.
local raws, users, lives = {}, {}, {}
for i = 1, #KEYS, 1000 do -- a stack has its end
  local read = redis.call('MGET', unpack(KEYS, i, math.min(i + 999, #KEYS)))
  if i == 1 then raws = read else for k = 1, #read do raws[i + k - 1] = read[k] end end
end

-- Decides one ask by what is open of its user.
local function slowly(user, terms, id, asks, i)
  local e5, e4, e3, e2, e1, e0 = byte(asks, i + 5, i + 10)
  local expires = ((((e5 * 256 + e4) * 256 + e3) * 256 + e2) * 256 + e1) * 256 + e0
  return decide(user, terms, id, terms.now, terms.from, expires)
end

-- Decides the ask that stands at byte i of a run of user k, and notes what it
-- changes.
local function answer(k, terms, asks, i)
  local id, user = sub(asks, i, i + 4), users[k]
  if user then return slowly(user, terms, id, asks, i) end
  if terms.now == terms.from and not terms.expired then
    local raw, life = quick(raws[k] or '', terms, id)
    if raw then
      raws[k], lives[k] = raw, life
      return GO, terms.now
    end
  end
  user = open(raws[k] or '')
  user.changed, users[k] = lives[k] and terms.now, user
  return slowly(user, terms, id, asks, i)
end

local answers, asked = {}, 0
while arg < #ARGV do
  local k, terms, asks = number(), termsOf(word()), word()
  for i = 1, #asks, 11 do
    asked = asked + 1
    local action, t, rule, burst = answer(k, terms, asks, i)
    if action ~= GO or t ~= terms.from then
      local n = #answers
      answers[n + 1], answers[n + 2], answers[n + 3], answers[n + 4], answers[n + 5] = asked, action, t, rule, burst
    end
    k = k + 1
  end
end
if not trying then
  local said, life
  for k, ms in pairs(lives) do
    if not users[k] then
      if ms ~= said then said, life = ms, format('%d', ms) end
      redis.call('PSETEX', KEYS[k], life, raws[k])
    end
  end
  for k, user in pairs(users) do
    if user.changed then save(KEYS[k], user, user.changed) end
  end
end
return answers
