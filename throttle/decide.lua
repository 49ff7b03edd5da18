-- Decides a batch of asks against the caps of their users, in order, each one
-- seeing those before it. An ask that may go, now or later, takes its place
-- under every one of its rules; any other takes none. The same id asked again
-- gets the place that it has. See places.lua for how places are kept.
--
-- KEYS     for each ask the string of its user's places; all of one slot
-- ARGV     'try' to write nothing, or anything else; the number of rules, and
--          for each: the first 8 bytes of its section, limit, window in ms, the
--          burst's limit and window (0: none), 1 when it drops, 2 when it
--          collects what may be; then for each ask: 5 bytes of its id's hash;
--          its terms, as "1,2:NOW:WAIT" the numbers of its rules (from 1), now
--          in ms, and in how many ms it could go at the earliest, with a c
--          behind when it may be collected; and the ms at which it expires (0: never)
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
    local at, places = {}, section.places
    for i = 1, section.n do at[i] = moment(places, (i - 1) * PLACE + 1) end
    section.at = at
  end
  return section.at
end

-- The first moment from t on that no place of the section stands against:
-- where limit places lie within one window, nothing may go from a window
-- before the last of them to a window after the first. Behind the last place,
-- and in a line too long to search, only the limit-th from the end counts.
local function free(section, t, limit, window)
  local n = section.n
  if n < limit then return t end
  if t >= last(section) or n > section.rule.limit + LOOK then
    return math.max(t, nth(section, n - limit + 1) + window)
  end
  local at = moments(section)
  for i = 1, n - limit + 1 do
    local first, final = at[i], at[i + limit - 1]
    if final - window >= t then break end
    if final - first < window and t < first + window then t = first + window end
  end
  return t
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
  local wanted = pack(t)
  local i = find(section.places, wanted, 1, true)
  while i and i % PLACE ~= 1 do i = find(section.places, wanted, i + 1, true) end
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
  local entry = pack(t) .. id
  if section.n == 0 or t >= last(section) then
    section.places, section.last = section.places .. entry, t
    if section.at then section.at[section.n + 1] = t end
  else
    local i = section.n
    while i > 0 and nth(section, i) > t do i = i - 1 end
    section.places = sub(section.places, 1, i * PLACE) .. entry .. sub(section.places, i * PLACE + 1)
    section.at = nil
  end
  section.n = section.n + 1
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
  local old = stale(section.places, 1, section.n, now - section.rule.life)
  if old > 0 then
    forget(section, old)
    user.changed = now
  end
end

-- The sections of a user under some rules, made where there are none yet.
local function sectionsOf(user, rules, now)
  local sections = {}
  for i, rule in ipairs(rules) do
    local section = user[rule.id]
    if not section then
      section = {head = rule.head, window = rule.window, n = 0, places = '', rule = rule, last = false, at = false}
      user[#user + 1], user[rule.id] = section, section
    end
    section.rule, section.head, section.window = rule, rule.head, rule.window
    if section.n >= rule.limit or section.n > 0 and last(section) <= now - rule.life then clean(user, section, now) end
    sections[i] = section
  end
  return sections
end

-- The moment of the place that a delivery has, nil for none.
local function own(sections, id)
  for _, section in ipairs(sections) do
    local i = section.n > 0 and held(section, id)
    if i then return moment(section.places, i - 5) end
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

-- What an ask's terms say: a list of its rules, each also under its id, and of
-- the times. Most asks of a batch have the same terms.
local known = {}
local function termsOf(text)
  local terms = known[text]
  if not terms then
    local numbers, now, wait, collect = string.match(text, '^([%d,]*):(%d+):(%d+)(c?)$')
    terms = {now = tonumber(now), life = 0, by = {}, collect = collect == 'c'}
    terms.from = terms.now + tonumber(wait)
    for i in string.gmatch(numbers, '%d+') do
      local rule = rules[tonumber(i)]
      terms[#terms + 1], terms.by[rule.id] = rule, rule
      terms.life = math.max(terms.life, rule.life)
    end
    known[text] = terms
  end
  return terms
end

-- A user's string with one more place under every rule of the terms, for a user
-- who has none.
local function fresh(terms, entry)
  local raw = ''
  for i = 1, #terms do raw = raw .. terms[i].head .. '\0\1' .. entry end
  return raw, terms.life
end

-- For how many ms after now the section from byte i to past is kept.
local function remains(raw, i, past, now)
  local w3, w2, w1, w0 = byte(raw, i + 4, i + 7)
  return moment(raw, past - PLACE) + ((w3 * 256 + w2) * 256 + w1) * 256 + w0 + SLACK - now
end

-- The section from byte i to past with one more place, at now; nil when more
-- than its count and its ends must be looked at to know that it has room.
local function longer(raw, i, past, rule, now, entry)
  local from = i + HEAD
  local n, final = (past - from) / PLACE, moment(raw, past - PLACE)
  if final > now then return nil end
  if n >= rule.limit or final <= now - rule.life then
    local old = stale(raw, from, n, now - rule.life)
    n, from = n - old, from + old * PLACE
    if n >= rule.limit then return nil end
  end
  if rule.bursts > 0 and n >= rule.bursts and moment(raw, past - rule.bursts * PLACE) + rule.within > now then return nil end
  local n0 = (n + 1) % 256
  return rule.head .. char((n + 1 - n0) / 256, n0) .. sub(raw, from, past - 1) .. entry
end

-- The usual case, for which the rest is too much: every rule has room, and the
-- delivery goes at once, behind every place that there is. Returns the user's
-- string with the places that it takes, and for how many ms it is kept; nil,
-- with nothing changed, when the case is any other.
local function quick(raw, terms, id)
  local now, life = terms.now, terms.life
  local entry = pack(now) .. id
  if raw == '' then return fresh(terms, entry) end
  if find(raw, id, 1, true) then return nil end
  local out, i, seen = '', 1, 0
  while i < #raw do
    local n1, n0 = byte(raw, i + 8, i + 9)
    local past, rule = i + HEAD + (n1 * 256 + n0) * PLACE, terms.by[sub(raw, i, i + 3)]
    local section
    if rule then
      section, seen = longer(raw, i, past, rule, now, entry), seen + 1
      if not section then return nil end
    else
      local left = remains(raw, i, past, now)
      section, life = left > 0 and sub(raw, i, past - 1) or '', math.max(life, left)
    end
    out, i = out .. section, past
  end
  if seen == #terms then return out, life end
end

-- The users of the batch, read a thousand at a time: a stack has its end. raws
-- are their strings, users what is open of them, lives for how many ms those
-- that are changed are kept.
local raws, users, lives = {}, {}, {}
for first = 1, #KEYS, 1000 do
  local read = redis.call('MGET', unpack(KEYS, first, math.min(first + 999, #KEYS)))
  for i = 1, #read do raws[KEYS[first + i - 1]] = read[i] or '' end
end

-- Decides one ask, and notes what it changes.
local function answer(key, id, terms, expires)
  local now, from = terms.now, terms.from
  if now == from and not users[key] and (expires == 0 or expires > now) then
    local raw, life = quick(raws[key], terms, id)
    if raw then
      raws[key], lives[key] = raw, life
      return GO, now
    end
  end
  local user = users[key]
  if not user then
    user = open(raws[key])
    user.changed = lives[key] and now
    users[key] = user
  end
  return decide(user, terms, id, now, from, expires)
end

local answers = {}
for i = 1, #KEYS do
  local id, terms, expires = word(), termsOf(word()), number()
  local action, t, rule, burst = answer(KEYS[i], id, terms, expires)
  if action ~= GO or t ~= terms.from then
    local n = #answers
    answers[n + 1], answers[n + 2], answers[n + 3], answers[n + 4], answers[n + 5] = i, action, t, rule, burst
  end
end
if not trying then
  for key, life in pairs(lives) do
    if not users[key] then redis.call('PSETEX', key, format('%d', life), raws[key]) end
  end
  for key, user in pairs(users) do
    if user.changed then save(key, user, user.changed) end
  end
end
return answers
