//! The building blocks of generated cases. Alternatives are in one text with `¦` between them,
//! because arrays of hundreds of them would fill a thousand lines.

use fastrand::Rng;

/// One of the alternatives in `pool`.
pub(crate) fn pick<'a>(rng: &mut Rng, pool: &'a str) -> &'a str {
    let alternatives: Vec<&str> = pool.split('¦').collect();
    alternatives[rng.usize(0..alternatives.len())]
}

/// Keys that a verdict uses, and their parents: changed more often than the others.
pub(crate) const JUDGED: &str = "aws¦s3¦emr¦buckets¦encrypted¦security_configuration¦region¦ami_version¦jobflow_role¦ec2_subnet_id¦jobflow\
    ¦job_name¦log¦raw¦in¦enriched¦good¦access_key_id¦monitoring¦tags";

/// Plain scalars with a special meaning, or almost one, and how a reader sees them.
pub(crate) const SCALARS: &[(&str, &str)] = &[
    ("plain boolean", "true¦True¦TRUE¦tRue¦false¦FALSE¦yes¦Yes¦YES¦no¦No¦on¦On¦ON¦off¦OFF¦oFf"),
    ("almost a boolean", "y¦n¦Y¦N¦truee¦yess¦true.¦on off¦t¦enabled¦yes please¦no, thanks¦true#x"),
    ("plain null", "~¦null¦Null¦NULL¦nUll¦"),
    ("almost a null", "nil¦None¦~~¦~ ~¦null.¦NIL¦nulll¦-¦--¦---x¦void"),
    (
        "plain integer",
        "0¦1¦12¦-3¦+4¦-0¦+0¦9223372036854775807¦9223372036854775808¦-9223372036854775809¦123456789012345678901234567890",
    ),
    ("octal", "0755¦00¦01¦0_7¦-017¦+07¦0o17¦0O17¦08¦09¦0789¦007_¦0_¦0,7"),
    ("hexadecimal or binary", "0x1F¦0xff_ff¦-0x10¦0X1F¦0b101¦0b1_0¦0b¦0x¦0b2¦0xg¦+0b1¦0B1¦0x1,0"),
    (
        "underscores or commas",
        "1_000¦1,000¦1__0¦_1¦1_¦1_000,000¦1,¦,1¦1,,0¦10_0.5¦1,0.5¦-1_0¦1_,0¦0,0¦1_2_",
    ),
    (
        "sexagesimal",
        "12:30¦12:30:00¦1:2:3:4¦190:20:30.15¦1:60¦-1:30¦+1:30¦0:0¦12:30.¦1_0:30¦12:3¦012:30¦12:30:¦1:30.5_5¦12:30:00.x",
    ),
    (
        "float",
        "5.10¦5.9¦0.015¦.5¦5.¦-.5¦+1.5¦1.5e3¦1.5e+3¦1.5E-3¦1e3¦1e+3¦1.e3¦1.e+3¦.e+3¦1.0.0¦5_0.1¦1.5_5¦1.5,5¦-0.0¦0.0¦00.5\
        ¦1.7976931348623157e+308¦1.0e+309¦4.9e-324¦0.1¦1.¦.¦-.¦+.¦..¦1..2¦0.30000000000000004¦9007199254740993.0¦1_.5¦_.5¦,.5¦1.5e+\
        ¦1.5e+1_0",
    ),
    (
        "special float",
        ".inf¦-.inf¦+.inf¦.Inf¦.INF¦.nan¦.NaN¦.NAN¦-.nan¦inf¦NaN¦Infinity¦.infx¦.iNf",
    ),
    (
        "date",
        "2020-01-01¦2020-1-1¦2020-13-01¦2020-02-30¦2020-01-32¦20-01-01¦2020-01-01x¦-2020-01-01¦2020-00-10¦2020-10-00¦12020-01-01\
        ¦2020-01-1",
    ),
    (
        "time",
        "2020-01-01 00:00:00¦2020-01-01T12:30:00Z¦2020-01-01t1:30:00.5 +01:00¦2020-01-01 25:00:00¦2020-01-01 00:00\
        ¦2020-01-01  00:00:00 -5¦-2020-01-01 00:00:00¦2020-13-01 00:00:00¦2020-01-01T00:00:00x¦2020-01-01 00:00:61\
        ¦2020-01-01 00:00:00.",
    ),
    ("symbol", ":a¦:true¦:\"a b\"¦:'x'¦:\"a¦::¦:¦: ¦:1¦:a b¦a:b¦:a:¦::a¦:\"\"¦:é¦:\"a\"b¦:-¦:~"),
    (
        "version or address",
        "5.29.0¦1.18.0¦emr-5.29.0¦10.0.0.1¦1.2.3-rc1¦s3://acme/x¦s3://acme:9/x¦http://a:80¦a/b#c¦arn:aws:iam::1:role/x¦v1¦5.29.0.\
        ¦1.1.1.1:80",
    ),
    (
        "sign or indicator",
        "=¦<<¦<¦<<<¦!¦&¦*¦?¦|¦>¦%¦@¦`¦\"¦'¦[¦]¦{¦}¦,¦#¦-¦? x¦- x¦%x¦@x¦`x¦a#¦a #b¦a: b¦a:¦&a¦*a¦!x¦x]¦x}¦x, y¦[x¦{x¦x'y¦x\"y¦'x'y\
        ¦\"x\"y¦a ?¦?a¦-a¦--- a¦... a¦<%¦%>¦$(x)¦${x}¦{{X}}¦{{ X }}¦{{X}}-a¦s3://{{X}}/a¦\\n¦a\\tb¦$x",
    ),
    (
        "words",
        "acme-sc¦acme sc¦ADD HERE¦Snowplow ETL¦gzip¦a¦x_y¦été¦日本¦\u{1f600}¦a\u{a0}b¦\u{feff}x¦a\tb¦tRuE story¦no_¦ten¦nullable¦onward\
        ¦~user¦yesno",
    ),
];

/// ERB tags as in configs, good and bad. `X` is often set, `UNSET` never.
pub(crate) const ERB: &[(&str, &str)] = &[
    (
        "ERB ENV[]",
        "<%= ENV['X'] %>¦<%=ENV[\"X\"]%>¦<%= ENV['UNSET'] %>¦<%=  ENV[ 'X' ]  %>¦<%= ENV['SC'] %>¦<%= ENV['ENC'] %>\
        ¦<%= ENV['UNSET'] %>x",
    ),
    (
        "ERB fetch",
        "<%= ENV.fetch('X') %>¦<%= ENV.fetch(\"X\") %>¦<%= ENV.fetch('UNSET') %>¦<%= ENV.fetch('X', 'd') %>\
        ¦<%= ENV.fetch('UNSET', 'yes') %>¦<%= ENV.fetch(\"UNSET\", \"d e\") %>¦<%= ENV.fetch 'X' %>¦<%= ENV.fetch('UNSET', nil) %>\
        ¦<%= ENV.fetch('UNSET', 5) %>¦<%= ENV.fetch('UNSET', true) %>¦<%= ENV.fetch('X') { 'd' } %>¦<%= ENV.fetch('UNSET','') %>\
        ¦<%= ENV.fetch ('X') %>¦<%= ENV.fetch('UNSET') { 'd' } %>¦<%= ENV.fetch('UNSET'){\"yes\"} %>¦<%= ENV.fetch('UNSET') {'d'}.to_s %>\
        ¦<%= ENV.fetch('X') { } %>¦<%= ENV.fetch('UNSET') { 'd' } || 'e' %>¦<%= ENV.fetch('X', 'd') { 'e' } %>",
    ),
    (
        "ERB default",
        "<%= ENV['X'] || 'd' %>¦<%= ENV['UNSET'] || \"d\" %>¦<%= ENV['UNSET']||'yes' %>¦<%= ENV['EMPTY'] || 'd' %>\
        ¦<%= ENV['X'] || ENV['SC'] %>¦<%= ENV['UNSET'] || ENV['SC'] || 'z' %>¦<%= ENV['X'] or 'd' %>¦<%= ENV['UNSET'] || 5 %>\
        ¦<%= ENV['UNSET'] || nil %>¦<%= ENV['UNSET'] || true %>¦<%= (ENV['X'] || 'd') %>¦<%= ENV['UNSET'] || ENV.fetch('SC') %>\
        ¦<%= ENV['UNSET'] || 2 %>¦<%= ENV['X'] || 2 %>¦<%= ENV['UNSET'] || -0.5 %>¦<%= ENV['UNSET'] || 1.50 %>¦<%= ENV['UNSET'] || 0x1f %>\
        ¦<%= ENV['UNSET'] || 2.to_s %>¦<%= ENV['UNSET'] || false %>¦<%= ENV['UNSET'] || false || nil || 'd' %>¦<%= ENV['UNSET'] || 0.00001 %>\
        ¦<%= ENV['UNSET'] || -0 %>¦<%= ENV['UNSET'] || 1e3 %>¦<%= ENV['UNSET'] || 2r %>¦<%= ENV['UNSET'] || 12345678901234567890 %>\
        ¦<%= ENV.fetch('UNSET', false) || 3 %>¦<%= ENV.fetch('UNSET') { 2 } %>¦<%= ENV['UNSET'] || :a %>¦<%= nil || true %>\
        ¦<%= ENV['UNSET'] || 100000000000000.25 %>¦<%= ENV['UNSET'] || 1_000 %>¦<%= ENV['UNSET'] || 010 %>\
        ¦<%= 'a' || ENV['X'] %>¦<%= ENV['UNSET'] or 'd' %>¦<%= ENV['UNSET'] or ENV['X'] || 'd' %>¦<%= ENV['UNSET'] || ENV['EMPTY'] or 'd' %>¦<%= ENV['UNSET']or 'd' %>¦<%= ENV['UNSET'] or'd' %>",
    ),
    (
        "ERB method",
        "<%= ENV['X'].to_s %>¦<%= ENV['UNSET'].to_s %>¦<%= ENV['X'].to_s.to_s %>¦<%= ENV['X'].upcase %>¦<%= ENV['X'].strip %>\
        ¦<%= ENV['UNSET'].strip %>¦<%= ENV['X'].nil? %>¦<%= ENV['X'].to_s.strip %>¦<%= ENV['X'] .to_s %>¦<%= ENV['X'].to_s() %>\
        ¦<%= ENV.fetch('X', 'd').to_s %>¦<%= 'a'.to_s %>¦<%= ENV['X'] || 'd'.to_s %>",
    ),
    (
        "ERB literal",
        "<%= 'true' %>¦<%= \"a b\" %>¦<%= 'it\\'s' %>¦<%= 'a\\nb' %>¦<%= \"a\\tb\" %>¦<%= \"a\\nb: c\" %>¦<%= '' %>¦<%= \"x#{1}y\" %>\
        ¦<%= 'x#{1}y' %>¦<%= \"x#y\" %>¦<%= \"x#$0\" %>¦<%= \"x#@y\" %>¦<%= \"\\x41\" %>¦<%= \"\\u0041\" %>¦<%= \"\\#{x}\" %>\
        ¦<%= '\\\\' %>¦<%= 'a\\' %>¦<%= 'a' 'b' %>¦<%= 'a' + 'b' %>¦<%= 42 %>¦<%= 0755 %>¦<%= 1_000 %>¦<%= 1.50 %>¦<%= true %>\
        ¦<%= nil %>¦<%= :sym %>¦<%= %q(a) %>¦<%= 'é' %>¦<%= 'a\nb' %>¦<%= \"a\\\"b\" %>¦<%= ?a %>¦<%= \"\\e\" %>¦<%= -1 %>\
        ¦<%= 'a'; %>¦<%= \"a\\ b\" %>¦<%= \"\\101\" %>¦<%= 'a%%>b' %>¦<%= '<%% x' %>",
    ),
    (
        "ERB other expression",
        "<%= ENV['ENC'] == 'true' %>¦<%= ENV['X'] ? 'a' : 'b' %>¦<%= ENV['X'], 1 %>¦<%= ENV['X']; 'z' %>¦<%= ENV['X'] if true %>\
        ¦<%= (ENV['X']) %>¦<%= ENV[\"#{'X'}\"] %>¦<%= ENV ['X'] %>¦<%= ENV['X'] # c %>¦<%=\nENV['X']\n%>¦<%= ENV['X'] -%>\
        ¦<%- ENV['X'] %>¦<%== ENV['X'] %>¦<%=# c %>¦<%= # c %>¦<%= %>¦<%=%>¦<%= ) %>¦<%= ENV[X] %>¦<%= ENV[:X] %>¦<%= ENV['X%>'] %>\
        ¦<%= ENV['X'] %¦<% x = 1 %>¦<% %>¦<%%>¦<% ENV['X'] = 'true' %>¦<%= ENV['X'] || raise('no') %>¦<%= ENV['X']\n|| 'd' %>\
        ¦<%= ENV['X'] \\\n %>¦<%= ENV['X'] && 'd' %>¦<%= !ENV['X'] %>¦<%= config.length %>¦<%= exit %>¦<% puts 'x' %>\
        ¦<%= ::ENV['X'] %>¦<%= ENV['X']['X'] %>¦<%= ENV['X'][0] %>¦<%= ENV['A']='b' %>¦<%= ENV['X'] || %>¦<%= ENV.fetch('X',) %>\
        ¦<%= ENV.fetch('X', 'd', 'e') %>¦<%= ENV['X','Y'] %>¦<%= ENV[''] %>¦<%= ENV['A=B'] %>¦<%= ENV['a\\'b'] %>¦<%=ENV['X']; %>\
        ¦<%= ENV['X'] || '' %>¦<%= ENV['X\\0'] %>¦<%= E\u{4e}V['X'] %>¦<%= ENV['é'] %>¦<%=\tENV['X']\t%>¦<%= ENV['X']\r\n%>\
        ¦<%=\u{a0}ENV['X'] %>¦<%= ENV['X'] __END__ %>",
    ),
    (
        "ERB comment tag",
        "<%# c %>¦<%#= ENV['X'] %>¦x<%# false %>¦<%# a\nb %>¦<%#%>¦<%# c -%>¦<%# a %%> b %>¦<%# <%% %>¦a <%# b %> c",
    ),
    (
        "ERB escape",
        "'<%% x %>'¦<%% x¦%%>¦a %%> b¦'<%%= ENV[1] %%>'¦<%%%¦<%%%>¦<% %%> %>¦a%>b¦'%>'¦<%%=¦'<%%<%%'¦<%%<%= 'a' %>",
    ),
    (
        "ERB many",
        "<%= ENV['SC'] %>-<%= ENV['X'] %>¦<%= 'a' %><%= 'b' %>¦s3://<%= ENV['SC'] %>/x¦'<%= ENV['X'] %>'¦\"<%= ENV['X'] %>\"\
        ¦'<%= ENV[\"X\"] %>'¦!!str <%= ENV['X'] %>¦[<%= ENV['X'] %>]¦&a <%= ENV['X'] %>",
    ),
    (
        "ERB block",
        "<% if ENV['X'] %>a<% else %>b<% end %>¦<% 2.times do %>a<% end %>¦<% if true %>\n<% end %>",
    ),
];

/// Values of environment variables.
pub(crate) const ENV_VALUES: &str = "true¦yes¦no¦¦ ¦acme¦a b¦a: b¦a # b¦'¦\"¦x\nencrypted: true¦x\n      encrypted: true¦x\n    security_configuration: other\
        ¦12:30¦0755¦1_000¦:sym¦~¦&a b¦*a¦[a¦{a: b}¦- a¦|¦a\n¦\ta¦é¦<%= 1 %>¦<%%¦%>¦# c¦\u{feff}¦\\¦a\\nb¦\r¦a\rb¦\u{85}¦\u{2028}x\
        ¦!ruby/object:Object {}¦---¦...¦x'y¦AKIA/+abc==¦null¦s3://acme/x";

/// Characters that may be inserted anywhere.
pub(crate) const NOISE: &str = ":¦#¦&¦*¦!¦|¦>¦'¦\"¦%¦@¦`¦,¦[¦]¦{¦}¦-¦?¦ ¦  ¦\t¦\n¦\r¦\r\n¦\u{85}¦\u{2028}¦\u{2029}¦\u{a0}¦\u{feff}¦\u{0}¦\u{7}¦\u{1b}¦\u{7f}\
        ¦\u{9f}¦\u{fffe}¦\u{1f600}¦\\¦<%¦%>¦<%=¦~¦=¦<<¦: ¦ #¦- ¦? ¦\n---\n¦\n...\n¦0¦_¦.¦\n\n¦\n#\n¦\n ¦!!¦é¦\u{1}¦\u{200b}¦\u{d7ff}\
        ¦\u{10ffff}¦\u{80}";

/// Tags, known to Ruby and not.
pub(crate) const TAGS: &str = "!!str¦!!int¦!!bool¦!!null¦!!float¦!!map¦!!seq¦!!set¦!!omap¦!!binary¦!!timestamp¦!!merge¦!!pairs¦!str¦!int¦!bool¦!null¦!float\
        ¦!map¦!seq¦!set¦!omap¦!binary¦!custom¦!¦!a!b¦!<tag:yaml.org,2002:str>¦!<tag:yaml.org,2002:int>¦!<!custom>¦!<x>¦!ruby/sym\
        ¦!ruby/symbol¦!ruby/object:Object¦!ruby/object:String¦!ruby/hash:Hash¦!ruby/array:Array¦!ruby/string¦!ruby/regexp¦!ruby/range\
        ¦!ruby/class¦!ruby/object:Set¦!ruby/struct:X¦!map:Hash¦!str:String¦!seq:Array¦!!str:x¦!!ruby/sym¦!!yaml¦!!¦!!STR¦!custom%21\
        ¦!ruby/object:OpenStruct¦!domain.tld,2002/x¦!a.b!c¦!a-b!c¦!a!b!c¦!a_1!b¦!é!b¦!<!a.b!c>¦!!a.b!c¦!a.b¦!a;b!c";

/// The tokens of random lines.
pub(crate) const TOKENS: &str = "a¦b¦key¦yes¦1¦:¦: ¦:¦,¦, ¦[¦]¦{¦}¦- ¦? ¦'¦\"¦'x'¦\"y\"¦&a ¦*a¦*a ¦!t ¦!!str ¦|¦>¦#¦ #¦ ¦  ¦\n¦\n  ¦\n        ¦\\¦<<¦=¦%¦@¦-\
        ¦--¦...¦\u{85}¦\u{2028}¦\u{a0}¦\u{1f600}¦\u{feff}¦é¦~¦\t¦\r";

/// Escapes in double quotes, and texts that look like one.
pub(crate) const ESCAPES: &str = "\\n¦\\t¦\\\"¦\\\\¦\\/¦\\x41¦\\u00e9¦\\U0001F600¦\\0¦\\_¦\\N¦\\L¦\\P¦\\e¦\\ ¦\\a¦\\q¦\\xZZ¦\\ud83d\\ude00¦\\ud800¦\\\n  \
    ¦\\U00110000¦\\\t¦\\\\\t¦\\'¦\\r\\n¦\\v";

/// Lists in flow style. Here and below, `§` and `¤` are replaced by scalars, `›` by the indentation
/// of the content.
pub(crate) const FLOW_LISTS: &str = "[§, ¤]¦[ § ]¦[]¦[§,¤]¦[§, ¤, ]¦[\n›§,\n›¤\n›]¦['§', \"¤\"]¦[§: ¤]¦[[§], ¤]¦[§ ¤¦[, §]¦[{§: ¤}]¦[? § : ¤]\
    ¦[§ # c\n›]¦[ ]¦[§:¤]";

/// Maps in flow style.
pub(crate) const FLOW_MAPS: &str = "{a: §, b: ¤}¦{ a: § }¦{}¦{a: §, a: ¤}¦{\"a\":§}¦{'a':\"¤\"}¦{a:§}¦{§: ¤}¦{§, ¤}¦{a: §, :a: ¤}¦{\n›a: §,\n›b: ¤\n›}\
    ¦{? § : ¤}¦{: §}¦{a: }¦{a: §,}¦{a: {b: §}}¦{ \"<<\": {a: §}}¦{<<: {a: §}, a: ¤}¦{}x";

/// The content below the header of a block scalar.
pub(crate) const BLOCKS: &str = "§\n¦§¦§\n›§¦\n›§¦§\n\n›§¦§\n›  §\n›§¦  §\n›§¦§\n›# no comment¦§ \n›¦\n\n¦§\n›\n›¦\t§¦§\n\tx¦- §\n›- b¦a: §¦§\n # c\n¦'§'\
    ¦§\n\n\n";

/// Merges of the anchors before them.
pub(crate) const MERGES: &str = "<<: *one¦<<: *one¦<<: *one¦<<: *two¦\"<<\": *one¦'<<': *one¦<<: [*one, *two]¦<<: [*two, *one]¦<<: {b: 1, c: 2}¦<<:\n›  b: 1\
        ¦<<: [{b: 1}, *one]¦<<: *list¦<<: *word¦<<: text¦<<:¦<<: ~¦<<: []¦<<: [*one, text]¦<<: [*one, ~]¦!!str <<: *one\
        ¦!!merge <<: *one¦!!str \"<<\": *one¦! <<: *one¦? <<\n›: *one¦:<<: *one¦\"<\\x3c\": *one¦<<: *one\n›<<: *two\
        ¦<<: *one\n›\"<<\": *two¦<< : *one¦<<: &m *one¦<<: !!map {b: 1}¦<<: &m {b: 1}¦<<: [[{b: 1}]]¦<<:\n›- *one\n›- *two\
        ¦<<: *nothing¦<<: *unknown¦<<: !!set {b, c}¦<<: {<<: *one}¦<<: [*list]¦&k <<: *one¦<<: [{b: 1}, {b: 2}]¦<<: {}\
        ¦<<: [{<<: *one}]";

/// The text between a key and its value: anchors and tags, followed by blanks and tabs.
pub(crate) const PROPERTIES: &str = "&p\t¦!!str\t¦&p !!str\t¦!!str\t&p ¦&p\t!!str ¦&p \t¦!custom\t¦!a.b!c ¦!a.b!c\t¦&p\n›\t¦&p # c\n›¦!!str # c\n›\
    ¦&p\n›¦!a!b ¦!\t¦! ¦&p ! ¦&p:q ¦&p, ¦!!float\t¦&p   ¦!<x> ¦!<tag:yaml.org,2002:str>\t";

/// ERB comments that may name an encoding, and texts that look like one, for the very start of the
/// text.
pub(crate) const ENCODINGS: &str = "<%# coding: latin1 %>¦<%# Encoding: none %>\n¦<%# coding: iso-8859-1 %>¦<%# coding: iso-8859-1 %>\n¦<%# coding: utf-8 %>¦<%# -*- coding: UTF-8 -*- %>\
    ¦<%# -*- coding: cp1252 -*- %>¦<%#coding=us-ascii%>¦<%# x %><%# coding: none %>¦<%# x %>\n<%# coding: none %>\n¦<%# fileencoding=utf-8-unix %>\
    ¦\n<%# coding: latin1 %>¦<%# vim: set fileencoding=utf-8 : %>¦# coding: latin1\n¦<%# -*- mode: yaml; coding: latin1 -*- %>\n¦<%# coding : x %>\
    ¦<%# coding:%>¦<%# CODING: none %>¦<%# coding: utf-8 -*- coding: iso-8859-1 -*- %>¦<%# -*- coding: utf-8 -*- coding: none %>¦<%# coding: ascii-8bit %>\
    ¦<%# coding: utf-16 %>¦<%# coding: utf8 %>¦<%# encoding %>¦ <%# coding: none %>¦\u{feff}<%# coding: none %>\n¦<%# coding\n: none %>¦<%#\ncoding: none\n%>\n";

/// Lines with letters that are not ASCII.
pub(crate) const LETTERS: &str = "name: Zoë¦name: \"Zoë\"¦name: <%= 'Zoë' %>¦name: <%= ENV['UNSET'] || 'Zoë' %>¦# Zoë¦# <%# Zoë %>¦Zoë: 1¦name: '日本 \u{1f600}'\
    ¦name: <%= ENV['LETTERS'] %>¦name: Zoë <%= ENV['LETTERS'] %>¦name: <%= 'Zoë' %> <%= ENV['LETTERS'] %>¦\"Zo\\u00eb\": 1";

/// Values of `LC_ALL`, including one that is installed nowhere.
pub(crate) const LOCALES: &str = "C.UTF-8¦C.UTF-8¦C.UTF-8¦C¦POSIX¦xx_YY.UTF-8¦";

/// Collections in block style after `key:`.
pub(crate) const NESTS: &str = "\n›  - §\n›  - ¤¦\n›- §\n›- ¤¦\n›  a: §\n›  b: ¤¦\n›  - a: §\n›    b: ¤¦\n›  - - §\n›    - ¤¦\n›  -\n›    a: §\n›  - ¤\
        ¦\n›  a:\n›  - §\n›  b: ¤¦\n›  -\n›  - ¤¦\n›  ? §\n›  : ¤¦\n›  ? §\n›  ? b¦\n›  -§¦\n›  -\t§¦\n›  - §\n›  ¤\
        ¦\n›  a: §\n›    b: ¤¦\n›  - ? §\n›    : ¤¦\n›    - §\n›  - ¤";

/// Notations of the key `K`.
pub(crate) const SPELLINGS: &str = "K¦K¦K¦K¦:K¦:K¦\"K\"¦'K'¦\":K\"¦:\"K\"¦:'K'¦!!str K¦! K¦!ruby/sym K¦!ruby/symbol :K¦&k K¦? K\nI¦K ¦\"\\x4b¦!!str :K¦::K¦K\t\
        ¦!custom :K¦!custom K¦\"K\" ";

/// Text before a document.
pub(crate) const FRONTS: &str = "---¦--- ¦--- # c¦%YAML 1.1\n---¦%YAML 1.2\n---¦%YAML 2.0\n---¦%TAG ! tag:x,2000:\n---¦%TAG !y! tag:yaml.org,2002:\n---\
        ¦--- !!map¦--- &root¦# c\n---¦\n---¦...\n---¦---\n---¦%FOO bar\n---¦%YAML 1.1¦--- !ruby/hash:Hash¦...¦--- |¦---\t\
        ¦%YAML 1.1\n%YAML 1.1\n---¦--- !custom";

/// Text after a document.
pub(crate) const BACKS: &str = "---¦...¦---\nencrypted: true¦...\nencrypted: true¦---\n- [¦... # c¦--- text¦...\n---\na: b¦...\n%YAML 1.1\n---\na: b\
        ¦\n...\n\n¦---\n...¦...\n...¦...\n\ttab¦... x¦---\n*nope¦---\n@¦--- \u{7}";

/// Lines that are comments, or nearly.
pub(crate) const COMMENTS: &str = "# c¦#¦#c¦# key: value¦# it's \"¦# - x¦\t# c¦#\t¦# é \u{2028} x¦# <%# c %>¦# \u{7}¦#!x¦#\u{85}a: b¦#\ra: b¦# \u{feff}¦¦ ¦\t\
        ¦# <%= ENV['UNSET'] %>";
