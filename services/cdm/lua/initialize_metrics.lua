-- Starts partitions that were never read; safe to repeat.
-- KEYS: 1 offsets · 2... data · ARGV: partition...
-- Returns 1, or 0 where data lie there without any offset: nobody knows what they hold.
if redis.call('EXISTS', KEYS[1]) == 0 and redis.call('EXISTS', unpack(KEYS, 2)) > 0 then
  return 0
end
for _, partition in ipairs(ARGV) do
  redis.call('HSETNX', KEYS[1], partition, 0)
end
return 1
