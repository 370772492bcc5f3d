import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** The state letter of a process (`T`: stopped), undefined when there is no such process. */
async function stateLetter(pid: number): Promise<string | undefined> {
  if (process.platform === 'linux') {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
    // The name in parentheses may hold anything, so the state is found behind the last one.
    return stat?.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
  }
  return new Promise((resolve) => {
    execFile('ps', ['-o', 'state=', '-p', String(pid)], (error, stdout) => resolve(error === null ? stdout.trim().slice(0, 1) : undefined))
  })
}

/** Resolves to whether the process is seen stopped (or running) within the deadline. */
export async function waitStopped(pid: number, stopped: boolean, deadlineMs: number): Promise<boolean> {
  const until = performance.now() + deadlineMs
  for (;;) {
    if (((await stateLetter(pid)) === 'T') === stopped) return true
    if (performance.now() > until) return false
    await sleep(10)
  }
}
