-- Starts partitions that were never read; safe to repeat.
-- KEYS: 1 offsets · 2... data · ARGV: (partition, offset)...
-- Returns 1, or 0 where data lie there without any offset: nobody knows what they hold.
if redis.call('EXISTS', KEYS[1]) == 0 and redis.call('EXISTS', unpack(KEYS, 2)) > 0 then
  return 0
end
for at = 1, #ARGV, 2 do
  redis.call('HSETNX', KEYS[1], ARGV[at], ARGV[at + 1])
end
return 1
