// Recordings by the microphone, as WAV files: browsers' own recorders write formats that few
// programs read.

// Scenes are all that such processing takes away.
const AS_IT_IS = {
  channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false,
};

export class Recording {
  // Asks for the microphone, and begins. Throws where there is none or the user says no.
  static async begin() {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: AS_IT_IS });
    const recording = new Recording(stream, new AudioContext());
    try {
      await recording.connect();
    } catch (error) {
      await recording.close();
      throw error;
    }
    return recording;
  }

  constructor(stream, context) {
    Object.assign(this, { stream, context, blocks: [], length: 0 });
  }

  async connect() {
    await this.context.audioWorklet.addModule("recorder.js");
    const recorder = new AudioWorkletNode(this.context, "recorder");
    recorder.port.onmessage = ({ data }) => {
      this.blocks.push(data);
      this.length += data.length;
    };
    // A node that leads nowhere may not be run. What this one gives is silence.
    const source = this.context.createMediaStreamSource(this.stream);
    source.connect(recorder).connect(this.context.destination);
  }

  get seconds() {
    return this.length / this.context.sampleRate;
  }

  async close() {
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
  }

  // Ends it; the WAV file.
  async end() {
    await this.close();
    return wav(this.blocks, this.length, this.context.sampleRate);
  }
}

// A mono WAV of 16 bits.
function wav(blocks, length, rate) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * length));
  const text = (at, word) =>
    [...word].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * length, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true); // bytes of the format
  bytes.setUint16(20, 1, true); // integers
  bytes.setUint16(22, 1, true); // channel
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, 2 * rate, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  text(36, "data");
  bytes.setUint32(40, 2 * length, true);
  let at = 44;
  for (const block of blocks) {
    for (const sample of block) {
      bytes.setInt16(at, Math.round(32767 * Math.max(-1, Math.min(1, sample))), true);
      at += 2;
    }
  }
  return new File([bytes], "recording.wav", { type: "audio/wav" });
}
