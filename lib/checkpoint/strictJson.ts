/**
 * JSON as RFC 8259 has it, with rules JSON.parse does not keep: a repeated key in one object is an error (JSON.parse
 * silently keeps the last, other readers the first), and nesting and the number of values are capped, so that no file blocks
 * the event loop for long. Objects come out without a prototype, so a key `__proto__` is only a key.
 */

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** What is wrong and at which character; callers add their file and error code. */
export class JsonSyntaxError extends Error {
  readonly position: number;

  constructor(problem: string, position: number) {
    super(`${problem} at character ${position}`);
    this.name = 'JsonSyntaxError';
    this.position = position;
  }
}

const maxDepth = 64;
/** The tokenizer of Llama 2 has 220,000, in the newest spelling; a million take 0.3 s. */
const maxValues = 1_000_000;
/** Sticky: the grammar's number, tried at one position. */
const numberPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
/** Sticky: a run of characters that need no decoding inside a string. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them inside strings, so they end a run.
const plainRun = /[^"\\\u0000-\u001f]*/y;
const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** `python`: NaN, Infinity and -Infinity are numbers, as Python's json writes them; the code that uses such a number refuses it. */
export type JsonDialect = 'json' | 'python';

/** Parses one JSON value and nothing after it; a byte order mark before it is skipped. Throws JsonSyntaxError. */
export function parseStrictJson(text: string, dialect: JsonDialect = 'json'): JsonValue {
  return new Parser(text.startsWith('\ufeff') ? text.slice(1) : text, dialect).document();
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isJsonArray(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value);
}

class Parser {
  readonly #text: string;
  readonly #dialect: JsonDialect;
  #at = 0;
  #values = 0;

  constructor(text: string, dialect: JsonDialect) {
    this.#text = text;
    this.#dialect = dialect;
  }

  document(): JsonValue {
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) throw this.#error('more text after the value');
    return value;
  }

  #error(problem: string): JsonSyntaxError {
    return new JsonSyntaxError(problem, this.#at);
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at++;
    }
  }

  #value(depth: number): JsonValue {
    if (depth > maxDepth) throw this.#error(`nesting deeper than ${maxDepth}`);
    if (++this.#values > maxValues) throw this.#error(`more than ${maxValues} values`);
    this.#space();
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(depth);
      case '[':
        return this.#array(depth);
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #word<T extends JsonValue>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#error('an unknown word');
    this.#at += word.length;
    return value;
  }

  #number(): number {
    numberPattern.lastIndex = this.#at;
    const match = numberPattern.exec(this.#text);
    if (match === null) {
      if (this.#at >= this.#text.length) throw this.#error('the end of the text, cut off,');
      const word = /^(NaN|-?Infinity)/.exec(this.#text.slice(this.#at, this.#at + 9))?.[0];
      if (word !== undefined) {
        if (this.#dialect === 'python') return this.#word(word, Number(word));
        throw this.#error('a number that is not finite (NaN or Infinity)');
      }
      throw this.#error(`unexpected ${JSON.stringify(this.#text[this.#at])}`);
    }
    this.#at += match[0].length;
    return Number(match[0]);
  }

  #string(): string {
    this.#at++;
    let out = '';
    for (;;) {
      plainRun.lastIndex = this.#at;
      const run = plainRun.exec(this.#text)?.[0] ?? '';
      out += run;
      this.#at += run.length;
      const mark = this.#text[this.#at];
      if (mark === '"') {
        this.#at++;
        return out;
      }
      if (mark !== '\\')
        throw this.#error(
          mark === undefined ? 'an unfinished string (the text is cut off)' : 'a control character',
        );
      out += this.#escape();
    }
  }

  #escape(): string {
    const kind = this.#text[this.#at + 1] ?? '';
    if (kind === 'u') {
      const digits = this.#text.slice(this.#at + 2, this.#at + 6);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.#error('a broken \\u escape');
      this.#at += 6;
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    const plain = Object.hasOwn(escapes, kind) ? escapes[kind] : undefined;
    if (plain === undefined) throw this.#error('an unknown escape');
    this.#at += 2;
    return plain;
  }

  #array(depth: number): JsonValue[] {
    this.#at++;
    const out: JsonValue[] = [];
    this.#space();
    if (this.#text[this.#at] === ']') {
      this.#at++;
      return out;
    }
    for (;;) {
      out.push(this.#value(depth + 1));
      if (this.#closes(']')) return out;
    }
  }

  #object(depth: number): JsonObject {
    this.#at++;
    const out: Record<string, JsonValue> = Object.create(null) as Record<string, JsonValue>;
    this.#space();
    if (this.#text[this.#at] === '}') {
      this.#at++;
      return out;
    }
    for (;;) {
      this.#space();
      if (this.#text[this.#at] !== '"') throw this.#error('a key without quotes');
      const key = this.#string();
      if (key in out) throw this.#error(`the key ${JSON.stringify(key.slice(0, 200))} a second time`);
      this.#space();
      if (this.#text[this.#at] !== ':') throw this.#error('a key without a colon');
      this.#at++;
      out[key] = this.#value(depth + 1);
      if (this.#closes('}')) return out;
    }
  }

  /** After an element: true at `end`, false at a comma. */
  #closes(end: string): boolean {
    this.#space();
    const mark = this.#text[this.#at];
    if (mark === undefined) throw this.#error(`the end of the text before ${end} (it is cut off)`);
    if (mark !== end && mark !== ',') throw this.#error(`neither a comma nor ${end}`);
    this.#at++;
    return mark === end;
  }
}
