-- Hands out permits of a rate. Time is cut into frames of so many permits, one
-- after the other; whoever asks first for the next one divides it among all who
-- asked lately, max-min fair, and each takes its part when it asks. A permit is
-- for its frame: what is not taken, or not used, is void, but for a little that
-- is paid out again later (the pool). Moments are Redis's own, in µs.
--
-- KEYS[1]  string, the state. Its first line is the frame: when it starts, its
--          length, its permits, how many are taken, how many are nobody's part,
--          the pool, the present second, the permits given in it and in the one
--          before. Then a line for each consumer: its rate's permits and length
--          of a frame, how many it wants, when it is gone unless it asks, its
--          credit in the rounding, its part that it has not taken, how many it
--          took last, its name.
-- ARGV     the consumer's name; the permits and the µs of a frame of its rate;
--          how many permits it wants a frame, 0 to leave; how many of those it
--          was given have ended unused; the end of the last frame that it has
--          permits of; 1: it wants them once, 0: in each frame until it says
--          otherwise
-- Returns  now; the number of permits given; the start and the end of the time
--          to use them in; where in a stride the first is, in millionths; when
--          to ask again; the end of the frame

local LEAD = 100000 -- a frame may be had so long before it starts
local SLACK = 80000 -- so late may a consumer ask and still be counted on
local MARGIN = 0.2 -- of a frame: what the pool holds at most, 2 % of a second
local FEW = 16 -- permits of a frame, up to which each has its own place
local EXTRA = 0.08 -- of a frame: what is paid out of the pool at once

local name, want, returned, held = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

local head = {start = 0, span = 0, size = 0, taken = 0, free = 0, pool = 0, second = 0, given = 0, before = 0}
local all, me = {}, nil

local function load(saved)
  local number = {}
  for field in string.gmatch(string.match(saved, '^[^\n]*'), '%S+') do number[#number + 1] = tonumber(field) end
  head.start, head.span, head.size, head.taken, head.free, head.pool, head.second, head.given, head.before = unpack(number)
  local line = '\n(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) ([^\n]*)'
  for size, span, wants, due, credit, part, last, who in string.gmatch(saved, line) do
    local c = {size = tonumber(size), span = tonumber(span), want = tonumber(wants), due = tonumber(due),
      credit = tonumber(credit), part = tonumber(part), last = tonumber(last), name = who}
    -- One that has not asked for long has no turn to keep.
    if who == name then me = c end
    if who == name or c.due + 10 * c.span + 2000000 > now then all[#all + 1] = c end
  end
end

local function save()
  local longest = 0
  local lines = {string.format('%.0f %.0f %d %d %d %.3f %.0f %d %d', head.start, head.span, head.size, head.taken,
    head.free, head.pool, head.second, head.given, head.before)}
  for _, c in ipairs(all) do
    longest = math.max(longest, c.span)
    lines[#lines + 1] = string.format('%d %.0f %d %.0f %.4f %d %d %s', c.size, c.span, c.want, c.due, c.credit, c.part, c.last, c.name)
  end
  redis.call('SET', KEYS[1], table.concat(lines, '\n'), 'PX', string.format('%.0f', 60000 + 2 * longest / 1000))
end

-- Those that asked lately and want permits.
local function asking()
  local out = {}
  for _, c in ipairs(all) do
    if c.want > 0 and (c == me or c.due >= now) then out[#out + 1] = c end
  end
  return out
end

-- While consumers differ about the rate, as in the midst of a roll-out, the
-- lowest holds.
local function lowest(askers)
  local size, span = me.size, me.span
  for _, c in ipairs(askers) do
    if c.size * span < size * c.span then size, span = c.size, c.span end
  end
  return size, span
end

-- Divides a frame: nobody gets more than it wants, and what one does not want
-- is for the others. Who lost in the rounding has credit in the next one.
local function divide(askers)
  table.sort(askers, function(a, b) return a.want < b.want or a.want == b.want and a.name < b.name end)
  local left, given = head.size, 0
  for i, c in ipairs(askers) do
    local fair = math.min(c.want, left / (#askers - i + 1))
    left = left - fair
    c.part = math.floor(fair + 1e-9)
    c.credit = c.part == c.want and 0 or c.credit + fair - c.part
    given = given + c.part
  end
  local spare = math.floor(head.size - left + 0.5) - given
  table.sort(askers, function(a, b) return a.credit > b.credit or a.credit == b.credit and a.name < b.name end)
  for i = 1, spare do
    askers[i].part, askers[i].credit = askers[i].part + 1, askers[i].credit - 1
  end
  head.free = head.size - given - spare
end

-- Makes the next frame. What nobody took of the one before is for the pool.
local function advance(start)
  local wanted, untaken = 0, 0
  for _, c in ipairs(all) do
    untaken = untaken + c.part
    c.part = 0
  end
  if head.taken > 0 then head.pool = head.pool + untaken end
  local askers = asking()
  for _, c in ipairs(askers) do wanted = wanted + c.want end
  head.size, head.span = lowest(askers)
  head.start, head.taken = start, 0
  head.pool = math.min(head.pool, MARGIN * head.size)
  if wanted > head.size and head.size >= 10 then
    local extra = math.floor(math.min(head.pool, math.max(EXTRA * head.size, 1)))
    head.size, head.pool = head.size + extra, head.pool - extra
  end
  divide(askers)
end

-- Where n permits of the frame lie: beside those that are taken, not upon them.
-- Few are a piece of the frame, so that each has a moment of its own; many are
-- spread over it, since a consumer that is busy sends evenly better than at once.
local function place(n)
  local from, to, phase = head.start, head.start + head.span, 0
  if head.size <= FEW then
    local each = head.span / head.size
    from, to = from + math.floor(head.taken * each), from + math.floor((head.taken + n) * each)
  elseif n > 0 then
    phase = head.taken / head.size
  end
  return from, to, phase
end

-- Takes the caller's part of the frame, and of what is nobody's. Of a time that
-- has begun there is only what is left of it.
local function take()
  local n = me.part
  local more = math.max(math.min(head.free, me.want - n), 0)
  n, me.part, head.free = n + more, 0, head.free - more
  local from, to, phase = place(n)
  head.taken = head.taken + n
  if now > from and n > 0 then
    local usable = math.max(math.floor(n * (to - now) / (to - from)), 0)
    head.pool, n, from = head.pool + n - usable, usable, now
  end
  return n, from, to, phase
end

local function count(n)
  local second = math.floor(now / 1000000)
  if second ~= head.second then
    head.before = second == head.second + 1 and head.given or 0
    head.second, head.given = second, 0
  end
  head.given = head.given + n
end

local saved = redis.call('GET', KEYS[1])
if saved then
  load(saved)
elseif held > now and held <= now + 2 * LEAD + tonumber(ARGV[3]) then
  -- Redis lost the state: the frame that is in use goes on until its end.
  head.start, head.span = held - tonumber(ARGV[3]), tonumber(ARGV[3])
  head.taken = 1
end
if not me then
  me = {name = name, credit = 0, part = 0, last = 0, due = 0}
  all[#all + 1] = me
end
me.size, me.span, me.want = tonumber(ARGV[2]), tonumber(ARGV[3]), want
if returned > 0 and returned >= head.taken and held == head.start + head.span then
  head.taken = 0 -- as if nobody had come for the frame
end
head.pool = math.min(head.pool + returned, MARGIN * math.max(head.size, 1))
if want == 0 then
  for i, c in ipairs(all) do
    if c == me then table.remove(all, i) break end
  end
  head.free = head.free + me.part
  save()
  return {now, 0, now, now, 0, now, now}
end

if head.start > now + 2 * LEAD then head.start, head.span = 0, 0 end -- the clock was set back
-- A rate that was raised need not wait for the end of a long frame.
local _, span = lowest(asking())
local following = head.start + math.min(head.span, math.max(span, LEAD))
if following <= now + LEAD then
  advance(math.max(following, now))
elseif head.taken == 0 and now > head.start then
  advance(now) -- whose it was did not come
end
local n, from, to, phase = take()
count(n)
if n > 0 then me.last = n end
if ARGV[7] == '1' then me.want = math.max(want - n, 0) end
local back = math.max(head.start + head.span - LEAD, now)
if n == 0 and head.taken == 0 then
  back = math.min(back, head.start + 5000) -- whose it is may not come
end
me.due = back + SLACK
save()
return {now, n, from, to, math.floor(phase * 1000000), back, head.start + head.span}
