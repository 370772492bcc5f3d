/**
 * Ends the lab's servers when the lab itself was killed. A server ends on its own when its channel closes, but a stopped process
 * (SIGSTOP) cannot notice; SIGKILL ends it all the same. Reads lines from the lab: `+PID`, `-PID`, `rm FOLDER`.
 */
import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'

const pids = new Set<number>()
const folders = new Set<string>()

function end(): never {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended already.
    }
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  process.exit(0)
}

const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  if (line.startsWith('+')) pids.add(Number(line.slice(1)))
  else if (line.startsWith('-')) pids.delete(Number(line.slice(1)))
  else if (line.startsWith('rm ')) folders.add(line.slice(3))
})
// The pipe ends when the lab does, however it ended.
lines.on('close', end)
process.stdin.on('error', end)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
