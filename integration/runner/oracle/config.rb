# The oracle of config loading: what Ruby holds after ERB, Psych and the symbolising of keys, the way EmrEtlRunner 1.0.4 applies them.
#
# Request: {"config": TEXT, "env": {NAME: VALUE}}; of the locale's variables, LC_ALL counts. Answer: {"ok": DUMP} or {"error": "Class: message"}. A DUMP names every type, so that "1", 1, 1.0 and :"1"
# cannot be mistaken for one another: null, true, false, {"int": DIGITS}, {"float": 16 hexadecimal digits of the IEEE bits}, {"text": TEXT}, {"symbol": TEXT},
# {"date": "2020-01-31"}, {"list": [DUMP…]}, {"map": [[DUMP, DUMP]…]} in Ruby's order, and {"other": CLASS} for what no config should hold.
#
# Runs on MRI and on JRuby; the runner ships on JRuby, whose YAML parser is not libyaml.

# ERB in a config sees whatever the runner has loaded; these are what recorded configs touch.
require 'date'
require 'erb'
require 'set'
require 'tmpdir'
require 'yaml'
require_relative 'protocol'

# With `--as-started`, the environment and the locale are those that this process has been started with, whatever a request says.
AS_STARTED = ARGV.include?('--as-started')
Encoding.default_external = Encoding::UTF_8 unless AS_STARTED

# An expression that writes a file writes it where it is swept away.
SCRATCH = Dir.mktmpdir('oracle')
Dir.chdir(SCRATCH)
Dir.define_singleton_method(:tmpdir) { SCRATCH }

module Loading
  # More nodes than this (aliases counted each time they are used) are not written out.
  LARGEST = 200_000

  # The encoding that Ruby takes for that of files and of its own source, as the locale has it: only C.UTF-8 is installed on a slim machine.
  def self.encoding(locale)
    locale == 'C.UTF-8' ? Encoding::UTF_8 : Encoding::US_ASCII
  end

  # The runner's one line. The names of the locals are visible to the ERB expressions of a config.
  def self.load_config(config, config_file = 'config.yml', summary = '', is_required = true)
    symbolized(yaml(ERB.new(config).result(binding)))
  end

  # Psych 4 made `load` the safe one; what `load` was up to Psych 3 is `unsafe_load` there.
  def self.yaml(text)
    YAML.respond_to?(:unsafe_load) ? YAML.unsafe_load(text) : YAML.load(text)
  end

  # Every key that can be a symbol becomes one, at any depth; a later key takes the place of an earlier one that became the same symbol.
  def self.symbolized(value)
    case value
    when Hash
      pairs = value.map { |key, inner| [key.respond_to?(:to_sym) ? key.to_sym : key, symbolized(inner)] }
      Hash[pairs]
    when Enumerable
      value.map { |inner| symbolized(inner) }
    else
      value
    end
  end

  def self.dump(value, budget = [LARGEST])
    budget[0] -= 1
    raise 'too large to write out' if budget[0].negative?

    case value
    when nil, true, false then value
    when Integer then { int: value.to_s }
    when Float then { float: [value].pack('G').unpack1('H*') }
    when Symbol then text(value.to_s, :symbol)
    when String then text(value, :text)
    when Array then { list: value.map { |inner| dump(inner, budget) } }
    when Hash then { map: value.map { |key, inner| [dump(key, budget), dump(inner, budget)] } }
    when Date then { date: value.strftime('%Y-%m-%d') }
    else { other: value.class.to_s }
    end
  end

  def self.text(value, kind)
    # ASCII is the same text in whatever encoding Ruby took it for.
    readable = value.ascii_only? || (value.encoding == Encoding::UTF_8 && value.valid_encoding?)
    readable ? { kind => value.dup.force_encoding(Encoding::UTF_8) } : { other: 'binary' }
  end
end

# `Object`, because a stack that overflows raises no Ruby exception on JRuby.
begin
  Protocol.serve do |request|
    env = request.fetch('env')
    unless AS_STARTED
      ENV.replace(env)
      Encoding.default_external = Loading.encoding(env['LC_ALL'])
    end
    begin
      config = request.fetch('config').dup.force_encoding(Encoding.default_external)
      { ok: Loading.dump(Loading.load_config(config)) }
    rescue Object => error
      { error: Protocol.explain(error) }
    end
  end
ensure
  Dir.chdir('/')
  FileUtils.remove_entry(SCRATCH)
end
