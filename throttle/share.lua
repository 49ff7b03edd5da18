-- Hands out permits of a rate. Time is cut into frames of so many permits, one
-- after the other; whoever asks first for the next one divides it among all who
-- asked lately, max-min fair, and each takes its part when it asks. A permit is
-- for its frame: what is not taken, or not used, is void. It is owed then, and a
-- later frame is the larger for it, as far as the second that this frame ends
-- has not been used up by what was given and is not known to be unused (the
-- book). Moments are Redis's own, in µs.
--
-- KEYS[1]  string, the state. Its first line is the frame: when it starts, its
--          length, its permits, how many are taken, how many are nobody's part,
--          how many are owed, the present second, the permits given in it and in
--          the one before; then the book, three numbers for each frame of the
--          last second, this one last: when it ends, its length, the permits
--          that were given and may be used. Then a line for each consumer: its
--          rate's permits and length of a frame, how many it wants, when it is
--          gone unless it asks, its credit in the rounding, its part that it has
--          not taken, how many it took last, its name.
-- ARGV     the consumer's name; the permits and the µs of a frame of its rate;
--          how many permits it wants a frame, 0 to leave; 1: it wants them once,
--          0: in each frame until it says otherwise; the end of the last frame
--          that it has permits of; 1: no second is to be given more than the
--          rate, 0: what is owed may make it a little more; then, two by two, the end of a frame and how
--          many of those it was given there have ended unused
-- Returns  now; the number of permits given; the start and the end of the time
--          to use them in; where in a stride the first is, in millionths; when
--          to ask again; the end of the frame

local LEAD = 100000 -- a frame may be had so long before it starts
local SLACK = 80000 -- so late may a consumer ask and still be counted on
local FEW = 16 -- permits of a frame, up to which each has its own place
local SECOND = 1000000
local FULL = ARGV[7] == '1' and 1 or 1.03 -- of the rate: what a second may be given; being used late adds to it
local EXTRA = 0.5 -- of a frame: by how much it may be the larger

local name, want, once, held = ARGV[1], tonumber(ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

local head = {start = 0, span = 0, size = 0, taken = 0, free = 0, owed = 0, second = 0, given = 0, before = 0}
local book, all, me = {}, {}, nil

local function load(saved)
  local number = {}
  for field in string.gmatch(string.match(saved, '^[^\n]*'), '%S+') do number[#number + 1] = tonumber(field) end
  head.start, head.span, head.size, head.taken, head.free, head.owed, head.second, head.given, head.before = unpack(number, 1, 9)
  for i = 10, #number - 2, 3 do book[#book + 1] = {ends = number[i], span = number[i + 1], used = number[i + 2]} end
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
  local first = {string.format('%.0f %.0f %d %d %d %d %.0f %d %d', head.start, head.span, head.size, head.taken,
    head.free, head.owed, head.second, head.given, head.before)}
  for _, f in ipairs(book) do first[#first + 1] = string.format('%.0f %.0f %d', f.ends, f.span, f.used) end
  local lines = {table.concat(first, ' ')}
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

-- Notes permits that nobody will use. What is owed is at most two frames: by
-- chance a consumer leaves one unused right after the other.
local function owe(n) head.owed = math.min(head.owed + n, 2 * head.size) end

-- How many of the permits that were given may be used in the second that a
-- frame ends, without it; forgets the frames before.
local function usable(ends)
  local kept, sum = {}, 0
  for _, f in ipairs(book) do
    local within = f.ends - (ends - SECOND)
    if within > 0 then kept[#kept + 1] = f end
    if within > 0 and f.ends < ends then
      sum = sum + f.used * math.min(within / f.span, 1)
    end
  end
  book = kept
  return sum
end

-- By how much the frame may be larger for what is owed, as far as its second
-- has room; less than 0 where there is none, since what was taken for unused may
-- be used yet. size and span are those of the rate.
local function due(size, span)
  local ends, rate = head.start + span, size * SECOND / span
  local room = math.max(rate, FULL * rate - (size > FEW and 1 or 2)) - usable(ends) - head.size
  local most = size + math.max(math.floor(EXTRA * size), 1) - head.size
  return math.floor(math.min(head.owed, room, most))
end

local function repay(n) head.size, head.owed = head.size + n, head.owed - n end

-- Makes the next frame. What nobody took of the one before is owed.
local function advance(start)
  local wanted, untaken = 0, 0
  for _, c in ipairs(all) do
    untaken = untaken + c.part
    c.part = 0
  end
  if head.taken > 0 then owe(untaken) end
  local askers = asking()
  for _, c in ipairs(askers) do wanted = wanted + c.want end
  head.size, head.span = lowest(askers)
  head.start, head.taken = start, 0
  owe(0)
  if wanted > head.size and head.size > 1 then repay(math.max(due(head.size, head.span), -head.size)) end
  divide(askers)
  usable(head.start + head.span) -- forgets what is over
  book[#book + 1] = {ends = head.start + head.span, span = head.span, used = 0}
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

-- As many more as the caller has use for: of what is nobody's part, and of what
-- is owed by now, beside those that are to come for theirs.
local function more()
  local wish, others = me.want - me.part, 1
  if wish <= 0 then return 0 end
  for _, c in ipairs(all) do
    if c ~= me and c.part > 0 and c.want > c.part then others = others + 1 end
  end
  local found = math.min(wish, head.free)
  head.free = head.free - found
  if head.size > FEW then
    local n = math.min(wish - found, math.ceil(due(lowest(asking())) / others))
    if n > 0 then
      repay(n)
      found = found + n
    end
  end
  return found
end

-- Takes the caller's part of the frame. Of a time that has begun there is only
-- what is left of it.
local function take()
  local n = more()
  n, me.part = n + me.part, 0
  local from, to, phase = place(n)
  head.taken = head.taken + n
  if now > from and n > 0 then
    local left = math.max(math.floor(n * (to - now) / (to - from)), 0)
    owe(n - left)
    n, from = left, now
  end
  book[#book].used = book[#book].used + n
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

-- Takes back what has ended unused, of frames of the last second and before.
-- When it was all of the present one, it is as if nobody had come for that.
local function takeBack()
  for i = 8, #ARGV - 1, 2 do
    local ends, n = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
    for _, f in ipairs(book) do
      if f.ends == ends then f.used = math.max(f.used - n, 0) end
    end
    if ends == head.start + head.span and n >= head.taken then
      head.taken = 0
    else
      owe(n)
    end
  end
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
takeBack()
if want == 0 then
  for i, c in ipairs(all) do
    if c == me then table.remove(all, i) break end
  end
  owe(me.part)
  save()
  return {now, 0, now, now, 0, now, now}
end

if head.start > now + 2 * LEAD then head.start, head.span, book = 0, 0, {} end -- the clock was set back
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
if once then me.want = math.max(want - n, 0) end
local back = math.max(head.start + head.span - LEAD, now)
if n == 0 and head.taken == 0 then
  back = math.min(back, head.start + 5000) -- whose it is may not come
end
me.due = back + SLACK
save()
return {now, n, from, to, math.floor(phase * 1000000), back, head.start + head.span}
