/** Reads the answers of a server (RFC 9112): strict where two readers could disagree about where an answer ends. */
import { type AnswerHead, readAnswerHead } from '../answer-head.ts'
import { ChunkedReader } from './chunked-reader.ts'

export interface AnswerHandlers {
  /** The final head; interim ones (1xx) are passed over. */
  head(status: number, statusText: string, head: AnswerHead): void
  data(chunk: Buffer, isLast: boolean): void
  /** The whole answer is read; `reusable`: the connection may carry another. */
  end(reusable: boolean): void
}

const HEAD_BYTES_MAX = 65_536
const HEAD_END = Buffer.from('\r\n\r\n')
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: (.*))?$/
const NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/
const UNSAFE = /[\0\r\n]/
const EMPTY: Buffer = Buffer.alloc(0)

type Framing = 'head' | 'length' | 'chunked' | 'close' | 'done'

/** One for each connection, `begin` for each request. A broken rule is an Error: the connection must be closed. */
export class AnswerParser {
  #to: AnswerHandlers | undefined
  #method = ''
  #framing: Framing = 'done'
  #rest: Buffer = EMPTY
  #left = 0
  #reusable = false
  #chunked: ChunkedReader | undefined

  begin(method: string, to: AnswerHandlers): void {
    this.#method = method
    this.#to = to
    this.#framing = 'head'
  }

  /** Bytes of the server. Throws when they are no HTTP, or more than was asked for. */
  read(chunk: Buffer): void {
    switch (this.#framing) {
      case 'head':
        return this.#readHead(this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]))
      case 'length':
        return this.#readLength(chunk)
      case 'chunked':
        return this.#readChunked(chunk)
      case 'close':
        return this.#to?.data(chunk, false)
      default:
        throw new Error('The server sent more than one answer.')
    }
  }

  /** The server has closed its side. True when that was the end of an answer. */
  finish(): boolean {
    if (this.#framing !== 'close') return false
    this.#done()
    return true
  }

  #readHead(bytes: Buffer): void {
    const end = bytes.indexOf(HEAD_END)
    if (end === -1 || end > HEAD_BYTES_MAX) {
      if (bytes.length > HEAD_BYTES_MAX) throw new Error('The head of the answer is too long.')
      this.#rest = bytes
      return
    }
    this.#rest = EMPTY
    const lines = bytes.toString('latin1', 0, end).split('\r\n')
    const status = STATUS_LINE.exec(lines[0] as string)
    if (status === null) throw new Error('The answer has no status line.')
    const code = Number(status[2])
    const body = bytes.subarray(end + HEAD_END.length)
    if (code >= 200) return this.#begin(code, status[3] ?? '', fieldsOf(lines), status[1] === '1', body)
    if (code === 101) throw new Error('The server switched protocols unasked.')
    if (body.length > 0) this.#readHead(body)
  }

  #begin(code: number, statusText: string, raw: readonly string[], isHttp11: boolean, body: Buffer): void {
    const head = readAnswerHead(raw)
    if (head.problem !== undefined) throw new Error(head.problem)
    if (head.chunked && !isHttp11) throw new Error('HTTP/1.0 has no chunks.')
    this.#reusable = isHttp11 && !head.close
    if (code === 204) dropLength(head.headers)
    const hasBody = this.#method !== 'HEAD' && code !== 204 && code !== 304 && (head.chunked || head.contentLength !== 0)
    this.#left = head.contentLength ?? 0
    // A bad server sends the body that it announces: nobody could tell it from the next answer.
    if (!hasBody && (this.#method === 'HEAD' || head.chunked || this.#left > 0)) this.#reusable = false
    if (!hasBody) this.#framing = 'done'
    else if (head.chunked) this.#framing = 'chunked'
    else this.#framing = head.contentLength === undefined ? 'close' : 'length'
    if (this.#framing === 'close') this.#reusable = false
    if (this.#framing === 'chunked') this.#chunked = new ChunkedReader()
    this.#to?.head(code, statusText, head)
    if (!hasBody) {
      if (body.length > 0) this.#reusable = false
      this.#done()
    } else if (body.length > 0) this.read(body)
  }

  #readLength(chunk: Buffer): void {
    const excess = chunk.length - this.#left
    if (excess < 0) {
      this.#left = -excess
      return this.#to?.data(chunk, false)
    }
    if (excess > 0) this.#reusable = false
    this.#to?.data(excess === 0 ? chunk : chunk.subarray(0, this.#left), true)
    this.#done()
  }

  #readChunked(chunk: Buffer): void {
    const chunked = this.#chunked as ChunkedReader
    const used = chunked.read(chunk, (piece) => this.#to?.data(piece, false))
    if (!chunked.isDone) return
    if (used < chunk.length) this.#reusable = false
    this.#done()
  }

  #done(): void {
    const to = this.#to
    this.#framing = 'done'
    this.#to = undefined
    this.#chunked = undefined
    to?.end(this.#reusable)
  }
}

/** Names and values in turn. */
function fieldsOf(lines: readonly string[]): string[] {
  const raw: string[] = []
  for (let at = 1; at < lines.length; at++) {
    const line = lines[at] as string
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(colon, 0))
    const value = line.slice(colon + 1).trim()
    if (!NAME.test(name)) throw new Error('A header field of the answer has no clear name.')
    if (UNSAFE.test(value)) throw new Error('A header field of the answer has no clear value.')
    raw.push(name, value)
  }
  return raw
}

/** RFC 9110, section 8.6: 204 has none; HTTP/2 clients take one for an error. */
function dropLength(headers: string[]): void {
  const at = headers.findIndex((text, index) => index % 2 === 0 && text.toLowerCase() === 'content-length')
  if (at >= 0) headers.splice(at, 2)
}
