/** Server-sent events (HTML standard, section 9.2) of the control page. */
import type { ServerResponse } from 'node:http'
import { labError } from './lab-error.ts'

const STREAMS_MAX = 50
/** A page that does not read is left behind rather than buffered without end. */
const BUFFER_MAX_BYTES = 1_048_576
const KEEP_ALIVE_MS = 15_000

export interface EventStream {
  open(response: ServerResponse, first: { name: string; data: unknown }): void
  publish(name: string, data: unknown): void
  close(): void
}

export function createEventStream(): EventStream {
  const streams = new Set<ServerResponse>()
  const keepAlive = setInterval(() => write(': still here\n\n'), KEEP_ALIVE_MS)
  keepAlive.unref()

  function write(text: string): void {
    for (const response of streams) {
      if (response.writableLength > BUFFER_MAX_BYTES) response.destroy()
      else response.write(text)
    }
  }

  return {
    open(response, first) {
      if (streams.size >= STREAMS_MAX) throw labError(503, 'STREAMS_FULL', `At most ${STREAMS_MAX} pages can watch at once: close one.`)
      response.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
      })
      response.write(`retry: 1000\n${frame(first.name, first.data)}`)
      streams.add(response)
      response.once('close', () => streams.delete(response))
      response.on('error', () => streams.delete(response))
    },
    publish(name, data) {
      if (streams.size > 0) write(frame(name, data))
    },
    close() {
      clearInterval(keepAlive)
      for (const response of streams) response.end()
    },
  }
}

function frame(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}
