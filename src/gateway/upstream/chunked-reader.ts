/** Takes the chunks out of a chunked body (RFC 9112, section 7.1). Extensions and trailers are dropped, and bounded. */
const LINE_MAX = 4_096
const TRAILERS_MAX = 16_384
const SIZE = /^([0-9a-fA-F]{1,12})[\t ]*(?:;[\t\u0020-\u00ff]*)?$/
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d

type State = 'size' | 'data' | 'data-end' | 'trailers'

export class ChunkedReader {
  #state: State = 'size'
  #line = ''
  #left = 0
  #trailers = 0
  isDone = false

  /** Returns how many bytes belong to this body. Throws when they are no chunks. */
  read(bytes: Buffer, piece: (chunk: Buffer) => void): number {
    let at = 0
    while (at < bytes.length && !this.isDone) {
      if (this.#state === 'data') {
        const end = Math.min(bytes.length, at + this.#left)
        this.#left -= end - at
        if (this.#left === 0) this.#state = 'data-end'
        piece(bytes.subarray(at, end))
        at = end
      } else at = this.#readLine(bytes, at)
    }
    return at
  }

  #readLine(bytes: Buffer, from: number): number {
    const feed = bytes.indexOf(LINE_FEED, from)
    const end = feed === -1 ? bytes.length : feed
    this.#line += bytes.toString('latin1', from, end)
    if (this.#line.length > LINE_MAX) throw new Error('A line of a chunked answer is too long.')
    if (feed === -1) return end
    if (this.#line.charCodeAt(this.#line.length - 1) !== CARRIAGE_RETURN) throw new Error('A line of a chunked answer ends without CR.')
    const line = this.#line.slice(0, -1)
    this.#line = ''
    this.#take(line)
    return feed + 1
  }

  #take(line: string): void {
    if (this.#state === 'trailers') {
      this.#trailers += line.length
      if (this.#trailers > TRAILERS_MAX) throw new Error('The trailers of an answer are too long.')
      this.isDone = line === ''
      return
    }
    if (this.#state === 'data-end') {
      if (line !== '') throw new Error('A chunk is longer than its size says.')
      this.#state = 'size'
      return
    }
    const size = SIZE.exec(line)
    if (size === null) throw new Error('A chunk has no size.')
    this.#left = Number.parseInt(size[1] as string, 16)
    this.#state = this.#left === 0 ? 'trailers' : 'data'
  }
}
