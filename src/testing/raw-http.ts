/** A client that shows an answer as it was on the wire. */
import { connect, type Socket } from 'node:net'
import { constants, gunzipSync } from 'node:zlib'

const DEADLINE_MS = 10_000

export interface RawAnswer {
  readonly status: number
  readonly reason: string
  /** Names in lower case, in the order sent. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Unzipped. */
  readonly body: Buffer
  readonly trailers: string
  /** False: the connection ended before the body did. */
  readonly whole: boolean
}

export interface RawConnection {
  readonly socket: Socket
  /** All bytes so far. */
  received(): Buffer
  send(text: string): void
  /** Resolves with all answers once the server has closed the connection. */
  closed(): Promise<RawAnswer[]>
}

export interface RequestOptions {
  method?: string
  headers?: Record<string, string>
  /** Leaves the connection open afterwards. */
  keepAlive?: boolean
  version?: '1.0' | '1.1'
}

export function requestText(path: string, options: RequestOptions = {}): string {
  const { method = 'GET', headers = {}, keepAlive = false, version = '1.1' } = options
  const all = { Host: '127.0.0.1', ...(!keepAlive && { Connection: 'close' }), ...headers }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/${version}\r\n${lines.join('')}\r\n`
}

export async function openConnection(port: number): Promise<RawConnection> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  const methods: string[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  const end = new Promise<void>((resolve) => {
    socket.on('close', () => resolve())
    socket.on('error', () => undefined)
  })
  await within(
    new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    }),
    'connecting',
  )
  return {
    socket,
    received: () => Buffer.concat(chunks),
    send(text) {
      for (const [, method] of text.matchAll(/^([A-Z]+) \S+ HTTP\/1\.[01]\r$/gm)) methods.push(method as string)
      socket.write(text)
    },
    async closed() {
      await within(end, 'the server to close the connection')
      return parseAnswers(Buffer.concat(chunks), methods)
    },
  }
}

/** Sends the text (one or more requests, the last of which closes) and returns every answer, 1xx included. */
export async function exchange(port: number, text: string): Promise<RawAnswer[]> {
  const connection = await openConnection(port)
  connection.send(text)
  return connection.closed()
}

export function header(answer: RawAnswer, name: string): string | undefined {
  const values = headerValues(answer, name)
  return values.length === 0 ? undefined : values.join(', ')
}

export function headerValues(answer: RawAnswer, name: string): string[] {
  return answer.headers.filter(([each]) => each === name).map(([, value]) => value)
}

/** Polls; rejects after ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited ${DEADLINE_MS} ms for ${what}.`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

export async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${DEADLINE_MS} ms for ${what}.`)), DEADLINE_MS)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

interface Framed {
  body: Buffer
  trailers?: string
  end: number
  whole: boolean
}

export function parseAnswers(bytes: Buffer, methods: readonly string[]): RawAnswer[] {
  const answers: RawAnswer[] = []
  let at = 0
  let final = 0
  while (at < bytes.length) {
    const headEnd = bytes.indexOf('\r\n\r\n', at)
    if (headEnd < 0) throw new Error('The head of an answer is not whole.')
    const [statusLine = '', ...lines] = bytes.toString('latin1', at, headEnd).split('\r\n')
    const matched = /^HTTP\/1\.1 (\d{3}) (.*)$/.exec(statusLine)
    if (matched === null) throw new Error('Bytes that are no answer were sent.')
    const status = Number(matched[1])
    const headers = lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()] as const)
    const isFinal = status >= 200
    const bodiless = !isFinal || status === 204 || status === 304 || methods[final] === 'HEAD'
    const framed: Framed = bodiless ? { body: Buffer.alloc(0), end: headEnd + 4, whole: true } : bodyAt(bytes, headEnd + 4, headers)
    const zipped = headers.some(([name, value]) => name === 'content-encoding' && value === 'gzip') && framed.body.length > 0
    const body = zipped ? gunzipSync(framed.body, { finishFlush: constants.Z_SYNC_FLUSH }) : framed.body
    answers.push({ status, reason: matched[2] ?? '', headers, body, trailers: framed.trailers ?? '', whole: framed.whole })
    at = framed.end
    if (isFinal) final++
  }
  return answers
}

function bodyAt(bytes: Buffer, start: number, headers: RawAnswer['headers']): Framed {
  const length = headers.find(([name]) => name === 'content-length')?.[1]
  if (length !== undefined) {
    const end = start + Number(length)
    return { body: bytes.subarray(start, end), end, whole: end <= bytes.length }
  }
  if (headers.some(([name, value]) => name === 'transfer-encoding' && value === 'chunked')) return chunkedAt(bytes, start)
  return { body: bytes.subarray(start), end: bytes.length, whole: true }
}

function chunkedAt(bytes: Buffer, start: number): Framed {
  const parts: Buffer[] = []
  let at = start
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) return { body: Buffer.concat(parts), end: bytes.length, whole: false }
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    const data = lineEnd + 2
    if (size === 0) {
      const end = bytes.indexOf('\r\n\r\n', lineEnd)
      if (end < 0) return { body: Buffer.concat(parts), end: bytes.length, whole: false }
      return { body: Buffer.concat(parts), trailers: bytes.toString('latin1', data, end), end: end + 4, whole: true }
    }
    parts.push(bytes.subarray(data, data + size))
    if (data + size + 2 > bytes.length) return { body: Buffer.concat(parts), end: bytes.length, whole: false }
    at = data + size + 2
  }
}
