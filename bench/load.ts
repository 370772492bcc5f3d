/** Load by wrk, and the CPU time it cost as the kernel counts it. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Seconds that the threads of the process have run, user and system, to the nanosecond. */
export function cpuSeconds(pid: number): number {
  let nanoseconds = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0])
  }
  return nanoseconds / 1e9
}

const TICKS_PER_SECOND = 100

/** Of them those outside the kernel, to 10 ms. */
export function userSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return Number(fields[11]) / TICKS_PER_SECOND
}

export interface Load {
  readonly requests: number
  readonly seconds: number
  readonly failed: number
}

/** A slow server on a busy machine is no failure. */
const PATIENCE = '10s'

/** Bounded in time and connections; the script rotates the jars. */
export async function load(url: string, script: string, seconds: number, connections: number): Promise<Load> {
  const { stdout } = await run('wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', PATIENCE, '-s', script, url], {
    timeout: (seconds + 30) * 1000,
  })
  const summary = /RESULT (\d+) (\d+) (\d+)/.exec(stdout)
  if (summary === null) throw new Error(`wrk printed no result: ${stdout}`)
  return { requests: Number(summary[1]), seconds: Number(summary[2]) / 1e6, failed: Number(summary[3]) }
}

/**
 * A wrk script that sends each of these Cookie headers in turn, `pipelined` requests at once (HTTP pipelining): one at a time, what
 * is measured is mostly the kernel waking the load generator with each answer, and more of it the slower the server is.
 */
export function rotatingJars(cookies: readonly string[], pipelined: number): string {
  return `local jars = {${cookies.map((cookie) => JSON.stringify(cookie)).join(', ')}}
local turn = 0
request = function()
  local batch = {}
  for index = 1, ${pipelined} do
    turn = turn % #jars + 1
    batch[index] = wrk.format("GET", nil, { ["Cookie"] = jars[turn] })
  end
  return table.concat(batch)
end
done = function(summary)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d\\n", summary.requests, summary.duration, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
`
}
