import type { Socket } from 'node:net'
import type { SessionError } from '../errors.ts'
import type { Runtime, Timer } from '../seam.ts'
import { unavailable } from './availability.ts'
import { flagOf, MemcachedProtocolError } from './memcached-parser.ts'
import type { MemcachedReply } from './memcached-parser.ts'

/** Commands under way on one connection, answered in the order they were sent. */
export interface CommandQueue {
  /** Rejects at `until` (monotonic ms); the reply is then still waited for, so that the order holds. */
  send(line: string, value: Buffer | undefined, until: number): Promise<MemcachedReply>
  /** Throws {@link MemcachedProtocolError} when it answers nothing that was asked. */
  answer(reply: MemcachedReply): void
  /** Rejects everything that is under way. */
  end(): void
}

export interface QueueOwner {
  readonly runtime: Runtime
  readonly deadlineMs: number
  /** A command got no answer for the whole deadline. */
  stalled(): void
  /** What commands of a broken connection reject with. */
  failed(problem?: string): SessionError
}

const COMMANDS_MOST = 20_000
const BYTES_MOST = 64 * 1_048_576
const LINE_END = Buffer.from('\r\n')
const ERRORS: ReadonlySet<string> = new Set(['ERROR', 'CLIENT_ERROR', 'SERVER_ERROR'])

interface Command {
  readonly tag: string
  readonly bytes: number
  readonly sentAt: number
  isDone: boolean
  timer: Timer | undefined
  next: Command | undefined
  resolve(reply: MemcachedReply): void
  reject(error: Error): void
}

export function commandQueue(socket: Socket, { runtime, deadlineMs, stalled, failed }: QueueOwner): CommandQueue {
  let first: Command | undefined
  let last: Command | undefined
  let count = 0
  let bytes = 0
  let tags = 0
  let corked = false

  /** Commands of one turn leave in one packet. */
  function write(line: string, value: Buffer | undefined): void {
    if (!corked) {
      corked = true
      socket.cork()
      queueMicrotask(() => {
        corked = false
        socket.uncork()
      })
    }
    socket.write(`${line}\r\n`, 'latin1')
    if (value === undefined) return
    socket.write(value)
    socket.write(LINE_END)
  }

  function append(command: Command): void {
    if (last === undefined) first = command
    else last.next = command
    last = command
    count += 1
    bytes += command.bytes
  }

  function remove(): Command | undefined {
    const command = first
    if (command === undefined) return undefined
    first = command.next
    if (first === undefined) last = undefined
    count -= 1
    bytes -= command.bytes
    command.isDone = true
    command.timer?.cancel()
    return command
  }

  /** A process that was itself stalled first reads what has arrived: the timer fires before the sockets are polled. */
  function soon(command: Command, run: () => void): () => void {
    return () => runtime.defer(() => !command.isDone && run())
  }

  function miss(command: Command): void {
    command.reject(failed('no answer'))
    const left = deadlineMs - (runtime.monotonic() - command.sentAt)
    if (left <= 0) stalled()
    else command.timer = runtime.setTimer(left, soon(command, stalled))
  }

  return {
    send(line, value, until): Promise<MemcachedReply> {
      const size = line.length + (value?.length ?? 0)
      if (count >= COMMANDS_MOST || bytes + size > BYTES_MOST)
        return Promise.reject(unavailable('too many commands wait for Memcached: add servers, or lower the load'))
      return new Promise((resolve, reject) => {
        const sentAt = runtime.monotonic()
        const tag = (tags++).toString(36)
        const command: Command = { tag, bytes: size, sentAt, isDone: false, timer: undefined, next: undefined, resolve, reject }
        command.timer = runtime.setTimer(
          Math.max(0, until - sentAt),
          soon(command, () => miss(command)),
        )
        append(command)
        write(`${line} O${tag}`, value)
      })
    },
    answer(reply): void {
      const command = remove()
      if (command === undefined) throw new MemcachedProtocolError('a reply to nothing')
      const { code } = reply
      if (ERRORS.has(code) ? code !== 'SERVER_ERROR' : flagOf(reply, 'O') !== command.tag) {
        command.reject(failed())
        throw new MemcachedProtocolError('a reply to something else')
      }
      command.resolve(reply)
    },
    end(): void {
      const error = failed()
      for (let command = remove(); command !== undefined; command = remove()) command.reject(error)
    },
  }
}
